"""Recovery: reads a weighted hypergraph out of a trained masked model.

``conditionals`` finds hyperedges and the probability of each node given the others, ``readout`` turns these into
weights within connected components, ``recover`` adds the masses of the components, and ``dissimilarity`` compares the
hypergraph with the true one.
"""
