"""Entity alignment: finds which node of one hypergraph is which node of another.

``files`` reads both hypergraphs and the known pairs, ``problem`` turns them into matrices, ``matchers`` proposes
matchings and keeps the closest by ``overlap``, and ``accuracy`` scores it up to automorphism.
"""
