"""Entity alignment: which node of one hypergraph is which node of another."""
