"""Splits of relations into seen ones, those held out for validation, and unseen ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, KnowledgeGraphError, Role, unique_triples


def zero_shot_split(
    graph: KnowledgeGraph,
    num_unseen: int,
    num_validation: int = 0,
    by: Literal["random", "frequency"] = "random",
    min_triples: int = 1,
    seed: int = 0,
) -> KnowledgeGraph:
    """Makes a zero-shot benchmark of any knowledge graph.

    Entities without a triple of a seen relation are left out, and the triples with them, as nothing is known of them.

    Args:
        graph: The graph; its roles are drawn anew.
        num_unseen: The number of unseen relations.
        num_validation: The number of relations held out for validation.
        by: ``"random"`` draws them; ``"frequency"`` takes the rarest, unseen ones first.
        min_triples: Relations with fewer triples stay seen.
        seed: Seeds the draw.

    Returns:
        The graph with other roles, and perhaps fewer entities and triples.

    Raises:
        KnowledgeGraphError: If there are not enough relations.
    """
    count = np.bincount(unique_triples(graph.triples)[:, 1], minlength=graph.num_relations)
    eligible = np.flatnonzero(count >= min_triples)
    if num_unseen + num_validation >= graph.num_relations or num_unseen + num_validation > len(eligible):
        raise KnowledgeGraphError(
            f"{num_unseen} unseen and {num_validation} validation relations cannot be taken from "
            f"{graph.num_relations} relations, of which {len(eligible)} have {min_triples} triples or more"
        )
    if by == "random":
        order = np.random.default_rng(seed).permutation(eligible)
    elif by == "frequency":
        order = eligible[np.argsort(count[eligible], kind="stable")]
    else:
        raise KnowledgeGraphError(f"by must be 'random' or 'frequency', got '{by}'")
    role = np.full(graph.num_relations, Role.SEEN, dtype=np.int64)
    role[order[:num_unseen]] = Role.UNSEEN
    role[order[num_unseen : num_unseen + num_validation]] = Role.VALIDATION
    split = replace(graph, role=role)
    met = np.zeros(graph.num_entities, dtype=bool)
    seen = split.triples_of(Role.SEEN)
    met[seen[:, 0]] = met[seen[:, 2]] = True
    return split.restricted_to(met)


def hold_out_validation(graph: KnowledgeGraph, number: int, seed: int = 0, min_triples: int = 10) -> KnowledgeGraph:
    """Turns some seen relations into validation relations, for choosing models without a look at the unseen ones.

    All entities stay; some may lose all their triples.

    Args:
        graph: The graph.
        number: How many relations.
        seed: Seeds the draw.
        min_triples: Relations with fewer triples stay seen.

    Raises:
        KnowledgeGraphError: If there are not enough seen relations.
    """
    count = np.bincount(graph.triples_of(Role.SEEN)[:, 1], minlength=graph.num_relations)
    eligible = np.flatnonzero((graph.role == Role.SEEN) & (count >= min_triples))
    if number >= len(graph.relations_of(Role.SEEN)) or number > len(eligible):
        raise KnowledgeGraphError(
            f"{number} validation relations cannot be held out of {len(graph.relations_of(Role.SEEN))} seen ones, of "
            f"which {len(eligible)} have {min_triples} triples or more"
        )
    role = graph.role.copy()
    role[np.random.default_rng(seed).permutation(eligible)[:number]] = Role.VALIDATION
    return replace(graph, role=role)
