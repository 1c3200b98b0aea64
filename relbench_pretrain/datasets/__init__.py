"""Built-in data: a generated shop database and a generated multimodal knowledge graph."""
