"""The pretrained part of a network: from the features of sampled rows to one vector per row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from relbench_pretrain.nn.graph_sage import GraphEncoder
from relbench_pretrain.nn.subgraph import Frames, Subgraph
from relbench_pretrain.nn.table_encoders import TableEncoder
from relbench_pretrain.nn.time_encoder import TimeEncoder
from relbench_pretrain.pretrained import SharedNetwork
from relbench_pretrain.pretrained.card import CardText
from relbench_pretrain.relational.schema import GraphSchema


class Backbone(SharedNetwork):
    """Encodes every row of a subgraph as one vector in the context of its neighbours (Peleška and Šír 2025).

    Attribute encoders and a tabular model, optionally relative time, then a graph encoder.

    Args:
        table_encoder: Features to one vector per row.
        graph_encoder: Rows and edges to one vector per row in its context.
        time_encoder: Adds an encoding of each row's age; None leaves it out.
        channels: Width of all vectors.
    """

    card = CardText(
        "a backbone for relational databases: one vector for each row, in the context of its rows",
        "tabular",
        """To fine-tune it:

```sh
relbench-pretrain fit --config fine_tuning/demo --data.dataset DATASET --data.task TASK \\
    --model.checkpoint {name} --model.start fine_tuned
```

""",
    )

    def __init__(
        self,
        table_encoder: TableEncoder,
        graph_encoder: GraphEncoder,
        time_encoder: TimeEncoder | None = None,
        channels: int = 128,
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be positive, got {channels}")
        self.table_encoder = table_encoder
        self.graph_encoder = graph_encoder
        self.time_encoder = time_encoder
        self.channels = channels
        self.schema: GraphSchema | None = None

    def build(self, schema: GraphSchema) -> None:
        """Creates all parameters for a schema; a second call changes nothing.

        Raises:
            SchemaError: If it was built for another structure before.
        """
        if self.schema is not None:
            self.schema.require_same_structure(schema, "this network was built for another database")
            return
        self.schema = schema
        self.table_encoder.build(schema, self.channels)
        self.graph_encoder.build(schema, self.channels)
        if self.time_encoder is not None:
            self.time_encoder.build(schema, self.channels)

    def built_for(self) -> dict[str, Any] | None:
        """Returns the schema."""
        return None if self.schema is None else {"schema": self.schema.to_dict()}

    def data_facts(self) -> dict[str, Any]:
        """Describes the database for a model card."""
        return {} if self.schema is None else self.schema.facts()

    def build_for(self, description: dict[str, Any]) -> None:
        """Creates all parameters for the schema."""
        self.build(GraphSchema.from_dict(description["schema"]))

    @torch.no_grad()
    def take_from(self, other: Backbone) -> list[str]:
        """Takes all weights that another network, of a schema with fewer tables, has too.

        Args:
            other: The same network, built for the other schema.

        Returns:
            The names of the parameters that stay fresh, all of them or in part.
        """
        weights, fresh = other.state_dict(), []
        mine, theirs = ({f"graph_encoder.{k}": v for k, v in net.graph_encoder.row_names().items()}
                        for net in (self, other))  # fmt: skip
        for name, value in self.state_dict().items():
            if name in mine:
                place = {row: i for i, row in enumerate(theirs[name])}
                known = [i for i, row in enumerate(mine[name]) if row in place]
                value[known] = weights[name][[place[mine[name][i]] for i in known]]
                if len(known) < len(value):
                    fresh.append(name)
            elif name in weights:
                value.copy_(weights[name])
            else:
                fresh.append(name)
        return fresh

    def forward(
        self, frames: Frames, graph: Subgraph, age: dict[str, Tensor], time_encoder: TimeEncoder | None = None
    ) -> dict[str, Tensor]:
        """Encodes the rows of a subgraph.

        Args:
            frames: Features per table, or a list of frames with the same rows: views that share the edges.
            graph: The edges.
            age: Seconds from each row's time to its time limit ``(num_rows,)``, for the tables with times.
            time_encoder: Stands in for the backbone's own where it has none.

        Returns:
            Vectors per table ``(num_rows, channels)``, ``(num_rows, num_views, channels)`` for views.
        """
        x = self.table_encoder(frames)
        if (encoder := self.time_encoder or time_encoder) is not None:
            for table, encoded in encoder(age).items():
                x[table] = x[table] + encoded.view(-1, *[1] * (x[table].dim() - 2), self.channels)
        return self.graph_encoder(x, graph)
