"""Multimodal relation extrapolation: learner, consolidator and generator, trained in phases."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_modules.sharding import allow_unused_parameters, average_gradients, begin_alike, shard, store_arguments
from lightning_modules.sharing import Sharing
from lightning_modules.training import clippable
from lightning_modules.zero_shot_ranking import ZeroShotRanking
from relbench_pretrain.knowledge_graph.data.queries import Direction
from relbench_pretrain.knowledge_graph.episodes import Episode
from relbench_pretrain.knowledge_graph.mre.batches import AdversarialBatch, ExtractorBatch, FusionBatch
from relbench_pretrain.knowledge_graph.mre.consolidator import (
    KnownTriples,
    StructureConsolidator,
    TransE,
    TripleScore,
    structure_loss,
)
from relbench_pretrain.knowledge_graph.mre.generator import (
    Critic,
    PairExtractor,
    RelationGenerator,
    critic_loss,
    generator_loss,
    pair_loss,
)
from relbench_pretrain.knowledge_graph.mre.learner import Learner
from relbench_pretrain.knowledge_graph.mre.learner_weights import load_learner
from relbench_pretrain.knowledge_graph.mre.modalities import ModalitySpec
from relbench_pretrain.knowledge_graph.mre.network import ExtrapolationNetwork
from relbench_pretrain.knowledge_graph.mre.pairs import NeighborTable, RelationPairs
from relbench_pretrain.knowledge_graph.mre.tables import GraphVectors, encode_entities
from relbench_pretrain.knowledge_graph.specification import MultimodalSpecification
from relbench_pretrain.trainer.specification import specification

WEIGHTS = {"image": 0.7, "text": 0.5, "structure": 0.7, "contrast": 0.5}
"""Weights of the fusion losses (Cai et al. 2024, L_fusion)."""


class RelationExtrapolation(Sharing, ZeroShotRanking):
    """MRE (Cai et al. 2024): relations that are known by their text alone get vectors from a generator.

    In every stage the neighbours are those of seen triples. The consolidator takes the vectors that the learner last
    computed of them (Fey et al. 2021, GNNAutoScale), so that a step encodes the entities of its triples and no others.

    ``data.training`` says in which order the parts are trained, and which inputs they read. A relation's tails are
    ranked by the mean cosine between E(h, t) and its generated vectors; before the generator has been trained, and
    where it never is, by the triple score of the relation's text.

    Args:
        learner: Makes vectors of entities and relations from images and texts.
        consolidator: Aggregates the neighbours of entities.
        score: How triples are scored.
        extractor: Makes vectors of pairs.
        generator: Makes vectors of relations from text and noise.
        critic: Distinguishes pairs from generated vectors.
        fusion_optimizer: Trains learner, consolidator and score.
        extractor_optimizer: Trains the extractor.
        adversarial_optimizer: Trains the critic, and another one the generator.
        weights: Weights of the losses ``image``, ``text``, ``structure`` and ``contrast``; those left out are the
            paper's, .7, .5, .7 and .5.
        num_negatives: Negatives per true triple.
        relations_per_batch: Relations of a step of extractor, critic or generator.
        pairs_per_relation: Pairs of each, as queries or real data.
        support: Pairs of each that the queries are compared with.
        critic_steps: Steps of the critic for one of the generator.
        generated: Vectors per relation in validation and test.
        neighbors: The most neighbours whose mean the extractor sees.
        hide_relation: Whether the means of neighbours that the extractor sees leave out those under the relation of the
            pair that it learns from; the few that the consolidator has sampled stay in the vectors of entities.
        clip: The largest norm of a gradient.
        learner_weights: Initial weights of the learner: a checkpoint of this module, a safetensors file or a
            folder with one, or a model on the Hub.
    """

    history: Tensor
    vectors: GraphVectors

    def __init__(
        self,
        learner: Learner,
        consolidator: StructureConsolidator | None = None,
        score: TripleScore | None = None,
        extractor: PairExtractor | None = None,
        generator: RelationGenerator | None = None,
        critic: Critic | None = None,
        fusion_optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        extractor_optimizer: OptimizerCallable = lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
        adversarial_optimizer: OptimizerCallable = lambda parameters: torch.optim.Adam(
            parameters, lr=1e-4, betas=(0.5, 0.9)
        ),
        weights: dict[str, float] | None = None,
        num_negatives: int = 10,
        relations_per_batch: int = 32,
        pairs_per_relation: int = 16,
        support: int = 30,
        critic_steps: int = 5,
        generated: int = 20,
        neighbors: int = 50,
        hide_relation: bool = True,
        clip: float = 1.0,
        learner_weights: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if unknown := set(weights or {}) - set(WEIGHTS):
            raise ValueError(f"weights of {sorted(unknown)}: the losses are {sorted(WEIGHTS)}")
        if critic_steps < 1:
            raise ValueError(f"critic_steps must be positive, got {critic_steps}")
        self.automatic_optimization = False
        self.learner = learner
        self.consolidator = consolidator or StructureConsolidator()
        self.score = score or TransE()
        channels = self.consolidator.channels
        self.extractor = extractor or PairExtractor(channels)
        self.generator = generator or RelationGenerator(channels)
        self.critic = critic or Critic(channels)
        self.optimizer_callables = (fusion_optimizer, extractor_optimizer, adversarial_optimizer, adversarial_optimizer)
        self.weights = WEIGHTS | (weights or {})
        self.num_negatives, self.critic_steps, self.clip = num_negatives, critic_steps, clip
        self.relations_per_batch, self.pairs_per_relation, self.support = (
            relations_per_batch,
            pairs_per_relation,
            support,
        )
        self.generated, self.neighbors, self.hide_relation = generated, neighbors, hide_relation
        self.learner_weights = learner_weights
        self.specs: dict[str, ModalitySpec] | None = None
        self.sizes = (0, 0)
        self.generator_steps = 0
        self._history_begun = False

    def data(self) -> MultimodalSpecification:
        """Returns the description of the data at hand."""
        return specification(self.trainer, MultimodalSpecification, self)

    def setup(self, stage: str) -> None:
        """Takes the parts of the graph that may be known.

        Raises:
            ValueError: If the data are of another graph than the checkpoint, or in half precision.
        """
        if self.trainer.precision == "16-mixed":
            raise ValueError("gradients are clipped by hand, which 16-mixed does not allow: use bf16-mixed")
        data = self.data()
        self._take_graph(data.inputs.specs, (len(data.entities), data.num_relations))
        self.pairs = RelationPairs(data.triples, data.num_relations)
        self.known = KnownTriples(torch.from_numpy(data.triples), *self.sizes)
        self.neighbor_table = NeighborTable(data.pair_neighborhood, self.neighbors)
        # All devices know the same graph; of neighbours each has its own history.
        shared = ("pairs", "known", "neighbor_table")
        buffers = [f"{part}.{name}" for part in shared for name, _ in getattr(self, part).named_buffers()]
        self._ddp_params_and_buffers_to_ignore = ["history", *buffers]
        allow_unused_parameters(self)  # each phase trains some parts
        self.vectors = GraphVectors(
            self.learner, self.consolidator, self.extractor, data.inputs, data.neighborhood, data.neighbors,
            self.pairs, self.neighbor_table, self.hide_relation,
        )  # fmt: skip
        self.make_metrics(data)

    def configure_model(self) -> None:
        """Creates the parameters, which depend on the graph; a second call changes nothing."""
        if self.specs is None:
            return
        first = self.generator.layers is None
        self.shared_network()  # creates them
        if first:
            self.register_buffer("history", torch.zeros(self.sizes[0], self.learner.entity_width))
            self._shard()

    def _shard(self) -> None:
        """Shards the parts that fusion trains, which have nearly all parameters; the other networks are small."""
        blocks = [part for part in self.learner.modules() if isinstance(part, nn.TransformerEncoderLayer)]
        shard(self, self.learner, blocks, ("encode_entities", "encode_relations", "losses"))
        shard(self, self.consolidator, entrances=("relations",))
        for part in (self.extractor, self.generator, self.critic):
            begin_alike(self, part)

    def shared_network(self) -> ExtrapolationNetwork:
        """Returns all parts, without the history of entities' vectors."""
        parts = (self.learner, self.consolidator, self.score, self.extractor, self.generator, self.critic)
        network = ExtrapolationNetwork(*parts)
        network.build(self.specs, self.sizes)
        return network

    def on_train_start(self) -> None:
        """Encodes all entities, from which the first batches take their neighbours."""
        phases, epochs = self.data().phases, self.trainer.max_epochs or -1
        if 0 < epochs < sum(phases):
            rank_zero_warn(
                f"trainer.max_epochs is {epochs}, and data.training has {sum(phases)} epochs in its phases: the "
                f"generator will have {max(0, epochs - sum(phases[:2]))} of its {phases[2]}"
            )
        if not self._history_begun:
            if self.learner_weights:
                load_learner(self.learner, self.learner_weights)
            self.history.copy_(encode_entities(self.learner, self.data().inputs, self.sizes[0], self.device))
            self._history_begun = True

    def configure_optimizers(self) -> list[Optimizer]:
        """Makes the optimisers of fusion, extractor, critic and generator."""
        fusion = [*self.learner.parameters(), *self.consolidator.parameters(), *self.score.parameters()]
        groups = [fusion, *(list(part.parameters()) for part in (self.extractor, self.critic, self.generator))]
        return [
            clippable(make(group), self.trainer) for make, group in zip(self.optimizer_callables, groups, strict=True)
        ]

    # Training

    def training_step(self, batch: FusionBatch | ExtractorBatch | AdversarialBatch, batch_idx: int) -> None:
        """Trains the part that the batch is for."""
        generator = torch.Generator(self.device).manual_seed(batch.seed)
        if isinstance(batch, FusionBatch):
            self._fusion_step(batch, generator)
        elif isinstance(batch, ExtractorBatch):
            self._extractor_step(generator)
        else:
            self._adversarial_step(generator)

    def num_rows(self, batch: FusionBatch | ExtractorBatch | AdversarialBatch) -> int:
        """The number of triples of a batch; of pairs that are compared or imitated, in the later phases."""
        if isinstance(batch, FusionBatch):
            return batch.triple.shape[1]
        return self.relations_per_batch * self.pairs_per_relation

    def _fusion_step(self, batch: FusionBatch, generator: torch.Generator) -> None:
        self.vectors.forget()
        losses = self.fusion_losses(batch, generator)
        loss = torch.stack([self.weights[name] * value for name, value in losses.items()]).sum()
        self._step(0, loss)
        self.log_dict({f"train/loss_{name}": value.detach() for name, value in losses.items()}, batch_size=1)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=1)

    def fusion_losses(self, batch: FusionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Returns the unweighted losses of learner and consolidator.

        Args:
            batch: Triples with the ego subgraphs of their entities.
            generator: Draws masks and negatives.
        """
        around = batch.around
        target, neighbor = around.number[: around.num_targets], around.number[around.num_targets :]
        vectors = self.learner.encode_entities(target, around.inputs)
        nodes = torch.cat([vectors, self.history[neighbor].to(vectors.dtype)])
        self.history[target] = vectors.detach().to(self.history.dtype)
        entity = self.consolidator(nodes, around.edge_index, around.edge_type, around.num_targets)
        relation = self.consolidator.relations(self.learner.encode_relations(batch.relation_inputs))
        losses = self.learner.losses(around.inputs, generator)
        losses["structure"] = structure_loss(
            self.score,
            self.known,
            entity,
            target,
            batch.triple,
            relation[batch.relation_row],
            batch.relation[batch.relation_row],
            self.num_negatives,
            generator=generator,
        )
        return losses

    def _extractor_step(self, generator: torch.Generator) -> None:
        relation = self.pairs.draw_relations(self.relations_per_batch, generator)
        pair = self.pairs.draw(relation, self.support + self.pairs_per_relation, generator)
        query = pair[:, self.support :]
        other = torch.randint(self.sizes[0], query.shape[:2], device=self.device, generator=generator)
        negatives = torch.stack([query[..., 0], other], dim=2)
        counts = ~self.known(negatives[..., 0], relation.unsqueeze(1), negatives[..., 1])
        found = self.vectors.of_pairs(torch.cat([pair, negatives], dim=1), relation)
        support, positive, negative = found.split([self.support, *[self.pairs_per_relation] * 2], dim=1)
        loss = pair_loss(support, positive, negative, counts)
        self.vectors.forget_pairs()
        self._step(1, loss)
        self.log("train/loss_extractor", loss.detach(), prog_bar=True, batch_size=1)

    def _adversarial_step(self, generator: torch.Generator) -> None:
        for _ in range(self.critic_steps):
            relation = self.pairs.draw_relations(self.relations_per_batch, generator)
            with torch.no_grad():
                real = self.vectors.of_pairs(self.pairs.draw(relation, self.pairs_per_relation, generator), relation)
                fake = self.generator(self.vectors.tables.text[relation], self.pairs_per_relation, generator)
            labels = relation.repeat_interleave(self.pairs_per_relation)
            loss = critic_loss(self.critic, real.flatten(0, 1), fake.flatten(0, 1), labels, generator=generator)
            self._step(2, loss)
        self.log("train/loss_critic", loss.detach(), batch_size=1)
        relation = self.pairs.draw_relations(self.relations_per_batch, generator)
        fake = self.generator(self.vectors.tables.text[relation], self.pairs_per_relation, generator)
        loss = generator_loss(self.critic, fake, relation, self.vectors.pivots[relation])
        self._step(3, loss)
        self.generator_steps += 1
        self.log("train/loss_generator", loss.detach(), prog_bar=True, batch_size=1)

    def _step(self, number: int, loss: Tensor) -> None:
        optimizer = cast(list[LightningOptimizer], self.optimizers())[number]
        self.toggle_optimizer(optimizer)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if number:
            average_gradients(self, (p for group in optimizer.param_groups for p in group["params"]))
        self.clip_gradients(optimizer.optimizer, self.clip, "norm")
        optimizer.step()
        self.untoggle_optimizer(optimizer)

    # Ranking

    def scores(self, episode: Episode, direction: Direction) -> Tensor:
        """Scores candidates by generated vectors, or by the triple score where nothing is generated."""
        candidate = episode.candidate.clamp(min=0)
        given = episode.anchor.unsqueeze(1).expand_as(candidate)
        head, tail = (candidate, given) if direction == "head" else (given, candidate)
        found = self._generated_score if self.generator_steps else self._triple_score
        return found(episode.relation, head, tail).masked_fill(episode.candidate < 0, -torch.inf)

    def _triple_score(self, relation: int, head: Tensor, tail: Tensor) -> Tensor:
        entity, wanted = self.vectors.tables.entity, self.vectors.tables.relation[relation]
        parts = zip(head.split(8), tail.split(8), strict=True)
        return torch.cat([self.score(entity[h], wanted, entity[t]) for h, t in parts])

    def _generated_score(self, relation: int, head: Tensor, tail: Tensor) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(relation)
        vectors = self.generator(self.vectors.tables.text[relation].unsqueeze(0), self.generated, generator)[0]
        middle = F.normalize(vectors.float(), dim=1).mean(0)  # the mean cosine is the cosine's numerator with the mean
        heads, tails = self.vectors.shares
        rows = []
        for h, t in zip(head.split(8), tail.split(8), strict=True):
            rows.append(F.normalize(self.extractor(heads[h], tails[t]).float(), dim=-1) @ middle)
        return torch.cat(rows)

    def validation_score(self, mrr: Tensor) -> Tensor:
        """Returns the mean reciprocal rank; 0 as long as a generator is still to come."""
        phases, epochs = self.data().phases, self.trainer.max_epochs
        comes = phases[2] > 0 and (epochs is None or epochs < 0 or epochs > sum(phases[:2]))
        return torch.zeros_like(mrr) if comes and not self.generator_steps else mrr

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores the sizes that the parameters' shapes depend on, and the steps of the generator."""
        super().on_save_checkpoint(checkpoint)
        store_arguments(self, checkpoint)
        specs = {name: list(spec) for name, spec in (self.specs or {}).items()}
        checkpoint["graph"] = {"specs": specs, "sizes": list(self.sizes), "generator_steps": self.generator_steps}
        if self.specs is not None and self.trainer.world_size > 1:  # each has seen other entities
            checkpoint["histories"] = [part.cpu() for part in self.all_gather(self.history)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Creates the parameters for the checkpoint's graph."""
        super().on_load_checkpoint(checkpoint)
        graph = checkpoint["graph"]
        specs = {name: ModalitySpec.of_stored(spec) for name, spec in graph["specs"].items()}
        self._take_graph(specs, tuple(graph["sizes"]))
        self.generator_steps, self._history_begun = graph["generator_steps"], True
        self.configure_model()
        if "histories" in checkpoint and self._trainer is not None:
            histories = checkpoint["histories"]
            checkpoint["state_dict"]["history"] = histories[self.trainer.global_rank % len(histories)]

    def _take_graph(self, specs: dict[str, ModalitySpec], sizes: tuple[int, int]) -> None:
        """Keeps the sizes that the parameters' shapes depend on, and refuses another graph than it has."""
        if self.specs is not None and (self.specs, self.sizes) != (specs, sizes):
            raise ValueError(
                f"checkpoint and data do not belong together: {self.sizes[0]} entities, {self.sizes[1]} relations and "
                f"{self.specs}, against {sizes[0]}, {sizes[1]} and {specs}; give the data.folder, "
                "data.training and split that it was trained with"
            )
        self.specs, self.sizes = specs, sizes
