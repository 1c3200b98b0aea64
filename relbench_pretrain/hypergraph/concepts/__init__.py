"""Graphs of concepts, and how well language models know their edges.

``assertions`` reads a commonsense knowledge base, ``graphs`` grows graphs of concepts from it or reads stored ones,
``answers`` writes the prompt for the edges of a graph and reads an answer, and ``language_model`` asks and scores.
"""
