"""Multimodal knowledge graphs and zero-shot relations: data, queries, ranking."""
