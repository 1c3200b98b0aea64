"""From a masked model's conditionals back to a weighted hypergraph, and how far it is from the true one."""
