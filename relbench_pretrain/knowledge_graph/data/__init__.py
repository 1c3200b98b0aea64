"""Knowledge graphs: folders, splits of relations, texts, images, neighbourhoods and queries."""
