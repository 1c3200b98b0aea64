"""Features of entity pairs under a relation that is known by its text alone."""
