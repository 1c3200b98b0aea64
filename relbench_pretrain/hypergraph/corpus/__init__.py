"""Corpora: hyperedges sampled from a hypergraph, with some of their nodes masked, in batches.

``sampling`` says how hyperedges are sampled, ``corpus`` makes and counts the samples, ``masking`` chooses the nodes
that a model has to predict, and ``batches`` makes tensors of them.
"""
