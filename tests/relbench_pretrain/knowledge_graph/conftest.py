"""A small knowledge graph with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, Role


@pytest.fixture
def graph():
    """Five entities, three relations of which the last is unseen, one triple twice."""
    triples = [(0, 0, 1), (0, 0, 2), (1, 1, 3), (0, 0, 1), (3, 2, 0), (3, 2, 1), (4, 2, 1), (2, 1, 3)]
    return KnowledgeGraph(
        entities=list("abcde"),
        relations=["likes", "knows", "owns"],
        triples=np.array(triples),
        role=np.array([Role.SEEN, Role.SEEN, Role.UNSEEN]),
        names=["Ann", "Bob", "Cleo", "Dan", "Eve"],
        descriptions=["A cat.", "", "A dog.", "", ""],
        relation_texts=["Whom one likes.", "Whom one knows.", "What one owns."],
        candidates={2: np.array([2, 3, 4])},
    )
