"""Names of earlier versions: checkpoints, exported folders and configurations that have them go on loading.

Stored files name classes by their public path, the package whose ``__init__`` exports the class, so that files of the
package can move. What earlier versions wrote instead is translated here, and nowhere else.
"""

from __future__ import annotations

MODULES = {
    "relbench_pretrain.nn.backbone": "relbench_pretrain.nn",
    "relbench_pretrain.nn.graph_sage": "relbench_pretrain.nn",
    "relbench_pretrain.nn.heads": "relbench_pretrain.nn",
    "relbench_pretrain.nn.table_encoders": "relbench_pretrain.nn",
    "relbench_pretrain.nn.task_network": "relbench_pretrain.nn",
    "relbench_pretrain.nn.temporal_transformer": "relbench_pretrain.nn",
    "relbench_pretrain.nn.time_encoder": "relbench_pretrain.nn",
    "relbench_pretrain.nn.two_tower": "relbench_pretrain.nn",
    "relbench_pretrain.contrastive.context": "relbench_pretrain.contrastive",
    "relbench_pretrain.contrastive.corruption": "relbench_pretrain.contrastive",
    "relbench_pretrain.contrastive.link": "relbench_pretrain.contrastive",
    "relbench_pretrain.contrastive.normalization": "relbench_pretrain.contrastive",
    "relbench_pretrain.contrastive.row": "relbench_pretrain.contrastive",
    "relbench_pretrain.hypergraph.bert": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.conceptnet": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.database": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.draws": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.generators": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.language_model": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.masking": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.matchers": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.readout": "relbench_pretrain.hypergraph",
    "relbench_pretrain.hypergraph.recovery": "relbench_pretrain.hypergraph",
    "relbench_pretrain.knowledge_graph.boosted_ranker": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.floors": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.pair_ranker": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.pictures": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.rewrites": "relbench_pretrain.knowledge_graph",
    "relbench_pretrain.knowledge_graph.extrapolation": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.consolidator": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.generator": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.late_fusion": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.learner": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.m3ae": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.network": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.plan": "relbench_pretrain.knowledge_graph.mre",
    "relbench_pretrain.knowledge_graph.extrapolation.tokenizers": "relbench_pretrain.knowledge_graph.mre",
    "callbacks.loggers": "relbench_pretrain.trainer",
    "callbacks.checkpoint_io": "relbench_pretrain.trainer",
}
"""The package that exports the classes of a module of an earlier version."""

CLASSES = {
    "relbench_pretrain.hypergraph.BiasedDraws": "relbench_pretrain.hypergraph.BiasedSampling",
    "relbench_pretrain.hypergraph.CorrelatedDraws": "relbench_pretrain.hypergraph.CorrelatedSampling",
    "relbench_pretrain.hypergraph.DriftingDraws": "relbench_pretrain.hypergraph.DriftingSampling",
    "relbench_pretrain.hypergraph.IndependentDraws": "relbench_pretrain.hypergraph.IndependentSampling",
    "relbench_pretrain.hypergraph.NoisyDraws": "relbench_pretrain.hypergraph.NoisySampling",
    "relbench_pretrain.hypergraph.Together": "relbench_pretrain.hypergraph.CompositeMasking",
    "callbacks.AtomicCheckpointIO": "relbench_pretrain.trainer.AtomicCheckpointIO",
}
"""The public path of a class that has another name now, by its earlier public path."""


def public_path(path: str) -> str:
    """Returns the public path of a class that an earlier version named; other paths are returned as they are.

    Args:
        path: A class path as YAML or a stored file has it.
    """
    module, _, name = path.rpartition(".")
    path = f"{MODULES.get(module, module)}.{name}" if module else path
    return CLASSES.get(path, path)
