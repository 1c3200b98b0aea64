"""Networks for tasks: a backbone, and the head that was trained on it."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.heads import MLPHead, PastInteractions, TwoTower
from relbench_pretrain.nn.subgraph import batch_inputs
from relbench_pretrain.nn.time_encoder import TimeEncoder
from relbench_pretrain.pretrained import CheckpointError, SharedNetwork, from_config, load_network, to_config
from relbench_pretrain.pretrained.card import CardText
from relbench_pretrain.relational.schema import GraphSchema, stored_schema
from relbench_pretrain.relational.tasks import BINARY, REGRESSION, TaskSpec

log = logging.getLogger(__name__)


class TaskNetwork(SharedNetwork):
    """Base of the networks for tasks: a backbone with a head.

    Args:
        backbone: The backbone.
        head: The head on it.
        time_encoder: Stands in for the backbone's own where it has none.
    """

    def __init__(self, backbone: Backbone, head: MLPHead | TwoTower, time_encoder: TimeEncoder | None = None) -> None:
        super().__init__()
        self.backbone, self.head, self.time_encoder = backbone, head, time_encoder
        self.task: TaskSpec | None = None

    def build(self, schema: GraphSchema, task: TaskSpec) -> None:
        """Creates all parameters for a schema and a task; a second call changes nothing."""
        self.task = task
        self.backbone.build(schema)
        if self.backbone.time_encoder is None and self.time_encoder is not None:
            self.time_encoder.build(schema, self.backbone.channels)
        self.build_head(task)

    def build_head(self, task: TaskSpec) -> None:
        """Creates the head's parameters; a second call changes nothing."""
        raise NotImplementedError

    def built_for(self) -> dict[str, Any] | None:
        """Returns schema and task."""
        known = self.backbone.built_for()
        return None if known is None or self.task is None else known | {"task": asdict(self.task)}

    def data_facts(self) -> dict[str, Any]:
        """Describes the database for a model card."""
        return self.backbone.data_facts()

    def build_for(self, description: dict[str, Any]) -> None:
        """Creates the parameters for schema and task."""
        task = description["task"]
        self.build(GraphSchema.from_dict(description["schema"]), TaskSpec(**task | {"classes": tuple(task["classes"])}))

    def encode(self, batch: HeteroData, table: str) -> Tensor:
        """Returns the vectors of the seeds of a batch, ``(num_seeds, channels)``."""
        return encode_seeds(self.backbone, self.time_encoder, batch, table)


class EntityNetwork(TaskNetwork):
    """Predicts for rows of a table: classes or values; see :class:`TaskNetwork`."""

    card = CardText("a network that predicts for rows of a relational database", "tabular")

    def build_head(self, task: TaskSpec) -> None:
        """Creates the head's parameters."""
        self.head.build(self.backbone.channels, task.num_outputs)  # type: ignore[call-arg]

    def forward(self, batch: HeteroData) -> Tensor:
        """Predicts for the seeds of a batch; see :func:`entity_output`."""
        return entity_output(self.head(self.encode(batch, self.task.entity_table)), self.task)


class RecommendationNetwork(TaskNetwork):
    """Scores rows of a table for rows of another; see :class:`TaskNetwork`."""

    card = CardText("a network that recommends rows of a relational database", "recommendation")

    def build_head(self, task: TaskSpec) -> None:
        """Creates the towers."""
        self.head.build(self.backbone.channels)  # type: ignore[call-arg]

    def forward(self, batch: HeteroData, candidates: HeteroData) -> Tensor:
        """Scores candidates.

        Args:
            batch: Sources with the rows around them.
            candidates: Destinations with the rows around them.

        Returns:
            ``(num_sources, num_destinations)``.
        """
        table = self.task.destination_table
        rows = candidates[table].n_id[: candidates[table].batch_size]
        source, destination = self.encode(batch, self.task.entity_table), self.encode(candidates, table)
        return self.head(source, destination, rows, past_interactions_of(batch, self.task))


def encode_seeds(backbone: Backbone, time_encoder: TimeEncoder | None, batch: HeteroData, table: str) -> Tensor:
    """Encodes the seeds of a batch.

    Args:
        backbone: The backbone.
        time_encoder: Stands in for the backbone's own where it has none.
        batch: The batch.
        table: The seeds' table.

    Returns:
        ``(num_seeds, channels)``.
    """
    seeds = batch[table].batch_size
    x = backbone(*batch_inputs(batch, {table: seeds}), time_encoder)
    return x[table][:seeds]


def entity_output(out: Tensor, task: TaskSpec) -> Tensor:
    """Turns the output of a head into logits or values of the task.

    Args:
        out: The head's output ``(num_seeds, num_outputs)``.
        task: The task.

    Returns:
        Logits of a binary classification or values of a regression ``(num_seeds,)``, else logits
        ``(num_seeds, num_outputs)``.
    """
    out = out.float()
    if task.kind in (BINARY, REGRESSION):
        out = out.squeeze(-1)
    return out * task.scale + task.median if task.kind == REGRESSION else out


def past_interactions_of(batch: HeteroData, task: TaskSpec) -> PastInteractions:
    """Collects the past interactions of the sources of a batch; a source's own row is none."""
    table = task.destination_table
    store = batch[table]
    ends = [(batch[e].edge_index[1], batch[e].age) for e in batch.edge_types if e[2] == table]
    links, age = (torch.cat(part) for part in zip(*ends, strict=True))
    past = PastInteractions.of_subgraphs(store.n_id, store.batch, links, age)
    if table != task.entity_table:
        return past
    others = torch.arange(len(store.n_id), device=links.device) >= store.batch_size
    return PastInteractions(past.source[others], past.row[others], past.features[others])


def load_backbone(source: str | Path, weights: bool = True, schema: GraphSchema | None = None) -> Backbone:
    """Loads a backbone, that of a network for a task included.

    Args:
        source: The folder, or a name on the Hub.
        weights: Whether to load the weights too, or only build the network with fresh ones.
        schema: A schema that has further tables, to build the network for. What belongs to these has fresh weights.

    Returns:
        The backbone, built for the schema that it was trained on, or for the one given.

    Raises:
        CheckpointError: If the folder is missing, incomplete or unreadable, or the weights do not fit.
        SchemaError: If the schema given differs in what both have.
    """
    mine = stored_schema(source)
    further = schema is not None and schema.node_types != mine.node_types
    if further:
        mine.require_same_structure(schema.restricted(mine), f"checkpoint '{source}'")
    network = load_network(source, weights)
    known = network.backbone if isinstance(network, TaskNetwork) else network
    if not isinstance(known, Backbone):
        raise CheckpointError(f"'{source}' holds a {type(network).__name__}, not a Backbone")
    if not further:
        return known
    backbone: Backbone = from_config(to_config(known))  # type: ignore[assignment]
    backbone.build(schema)
    if weights:
        fresh = backbone.take_from(known)
        log.info("%d of %d weights start fresh, for further tables", len(fresh), len(backbone.state_dict()))
    return backbone
