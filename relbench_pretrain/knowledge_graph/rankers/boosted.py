"""Boosted trees that rank candidates by the features of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError
from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.knowledge_graph.features.pair_features import NUM_FEATURES
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import EntityContext, PairScorer, features_of


class BoostedRanker(PairScorer):
    """LightGBM's LambdaMART on the features of pairs; it is trained once, on all episodes, and has no parameters.

    Args:
        num_trees: How many trees in each.
        learning_rate: Weight of each.
        num_leaves: Leaves per tree.
        num_negatives: The most negatives per query, the first of each.
        feature_share: Share of the features that a tree may use.
        num_threads: Threads; 0 for all cores.
        seed: Seeds the choice of features and pairs of each tree.
        num_members: How many ensembles of trees, which differ in their seeds, and whose scores are averaged.
    """

    def __init__(
        self,
        num_trees: int = 120,
        learning_rate: float = 0.1,
        num_leaves: int = 31,
        num_negatives: int = 80,
        feature_share: float = 0.5,
        num_threads: int = 0,
        seed: int = 0,
        num_members: int = 3,
    ) -> None:
        super().__init__()
        if num_members < 1:
            raise ValueError(f"num_members is {num_members}: there is nothing to average, give 1 or more")
        self.num_members = num_members
        self.num_trees, self.num_negatives, self.num_threads = num_trees, num_negatives, num_threads
        self.learning_rate, self.num_leaves = learning_rate, num_leaves
        self.feature_share, self.seed = feature_share, seed
        self.parameters_of_trees = {
            "objective": "lambdarank", "learning_rate": learning_rate, "num_leaves": num_leaves,
            "feature_fraction": feature_share, "bagging_fraction": 0.8, "bagging_freq": 1, "min_data_in_leaf": 50,
            "lambda_l2": 5.0, "max_bin": 127, "lambdarank_truncation_level": 10, "num_threads": num_threads,
            "verbose": -1, "deterministic": True, "force_row_wise": True,
        }  # fmt: skip
        self.members: list[Any] = []

    def prepare(self, episodes: Sequence[Episode]) -> None:
        """Trains the trees, unless they come from a checkpoint."""
        if self.members:
            return
        rows, labels, sizes = [], [], []
        for episode in episodes:
            kept = episode.candidate >= 0
            answer = torch.zeros_like(kept).scatter_(1, episode.answer.unsqueeze(1), True)
            kept &= answer | ((kept & ~answer).cumsum(1) <= self.num_negatives)
            rows.append(features_of(episode)[kept].numpy())
            labels.append(answer[kept].numpy())
            sizes.append(kept.sum(1).numpy())
        lightgbm = _lightgbm()
        table = lightgbm.Dataset(
            np.concatenate(rows), np.concatenate(labels).astype(np.float32), group=np.concatenate(sizes)
        )
        seeds = [self.seed * self.num_members + i for i in range(self.num_members)]
        self.members = [
            lightgbm.train({**self.parameters_of_trees, "seed": seed}, table, self.num_trees) for seed in seeds
        ]

    def forward(self, episode: Episode, query: Tensor, context: EntityContext) -> Tensor:
        """Scores candidates; see :meth:`PairScorer.forward`."""
        if not self.members:
            raise ValueError("the boosted trees are not trained: fit them, or give a checkpoint with --ckpt_path")
        features = features_of(episode)
        table = features.detach().float().cpu().reshape(-1, NUM_FEATURES).numpy()
        scores = torch.from_numpy(
            np.mean([m.predict(table, num_threads=self.num_threads) for m in self.members], axis=0)
        )
        return (
            scores.float().to(features.device).view(features.shape[:2]).masked_fill(episode.candidate < 0, -torch.inf)
        )

    def get_extra_state(self) -> dict[str, list[str]]:
        """Returns the trees as text, which a checkpoint keeps."""
        return {"trees": [member.model_to_string() for member in self.members]}

    def set_extra_state(self, state: dict[str, list[str]]) -> None:
        """Takes the trees from a checkpoint.

        Raises:
            ValueError: If they are of other features than those of now.
        """
        saved = state["trees"]
        members = [_lightgbm().Booster(model_str=text) for text in saved] if isinstance(saved, list) else None
        if members is None or any(member.num_feature() != NUM_FEATURES for member in members):
            raise ValueError("the boosted trees were saved by a version with other features of pairs: fit them again")
        self.members = members


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise KnowledgeGraphError("LightGBM is not installed: pip install relbench-pretrain[baselines]") from error
    return lightgbm
