"""Corpora of hyperedges sampled from a hypergraph, their masks and batches."""
