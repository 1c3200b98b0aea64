"""Attention over the most recent rows around a row, along every foreign key path, in order and with their ages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from relbench_pretrain.nn.graph_sage import GraphEncoder
from relbench_pretrain.nn.paths import PathVocabulary, Tokens, walk_paths
from relbench_pretrain.nn.subgraph import Subgraph
from relbench_pretrain.nn.time_encoder import AgeFeatures
from relbench_pretrain.relational.schema import GraphSchema


class TemporalTransformer(GraphEncoder):
    """A transformer encoder over each target row and the ordered rows around it.

    From the target it walks foreign keys in both directions. Child rows come in order of recency, so many per
    row, foreign key and hop; only the ``follow`` most recent ones lead on to further rows. Each row reached is one
    token: its features, and learned vectors for its table, the path by which it was reached, its recency rank and its
    age at the target's time limit. The target's own token is read out in the end.

    It needs a subgraph that knows recency ranks and ages, from either sampler.

    Args:
        rows_per_hop: How many child rows per row and foreign key become tokens, hop by hop.
        follow: How many of these lead on to the next hop.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        dropout: Dropout rate in the transformer and on its input.
        max_tokens: Tokens per target; the ones of the last hops are left out beyond it.
        static_features: Whether the features of tables without times are used. They are the same for all labels of
            a row, so where there are few such rows they are memorised; what happens to them carries over.
    """

    def __init__(
        self,
        rows_per_hop: Sequence[int] = (24, 0, 12),
        follow: int = 1,
        num_layers: int = 2,
        num_heads: int = 4,
        dropout: float = 0.2,
        max_tokens: int = 256,
        static_features: bool = True,
    ) -> None:
        super().__init__()
        if not rows_per_hop or min(rows_per_hop) < 0 or follow < 1 or max_tokens < 1:
            raise ValueError(
                f"rows_per_hop needs numbers from 0 on and follow and max_tokens from 1 on, "
                f"got {list(rows_per_hop)}, {follow} and {max_tokens}"
            )
        self.rows_per_hop = list(rows_per_hop)
        self.follow = follow
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout
        self.max_tokens = max_tokens
        self.static_features = static_features
        self.schema: GraphSchema | None = None

    def build(self, schema: GraphSchema, channels: int) -> None:
        """Creates the layers for a schema.

        Args:
            schema: The schema of the database.
            channels: Width of the rows' vectors.

        Raises:
            ValueError: If the heads do not divide the channels.
        """
        if self.schema is not None:
            return
        if channels % self.num_heads:
            raise ValueError(f"channels must be a multiple of num_heads, got {channels} and {self.num_heads}")
        self.schema = schema
        self.paths = PathVocabulary(schema, len(self.rows_per_hop))
        self.row_norm = nn.LayerNorm(channels)
        self.table_vector = nn.Embedding(len(schema.tables), channels)
        self.path_vector = nn.Embedding(self.paths.num_paths, channels)
        self.rank_vector = nn.Embedding(max(*self.rows_per_hop, 1), channels)
        self.age_features = AgeFeatures()
        self.age_map = nn.Linear(self.age_features.num_features, channels)
        self.class_vector = nn.Parameter(torch.zeros(channels))
        for embedding in (self.table_vector, self.path_vector, self.rank_vector):
            nn.init.normal_(embedding.weight, std=0.02)
        self.input_dropout = nn.Dropout(self.dropout)
        self.layers = nn.ModuleList(
            AttentionLayer(channels, self.num_heads, self.dropout) for _ in range(self.num_layers)
        )
        self.norm = nn.LayerNorm(channels)

    def row_names(self) -> dict[str, list]:
        """Returns the tables and paths that the learned vectors belong to."""
        return {"table_vector.weight": list(self.schema.tables), "path_vector.weight": self.paths.names}

    def forward(self, x: dict[str, Tensor], graph: Subgraph) -> dict[str, Tensor]:
        """Encodes the target rows.

        Args:
            x: Row vectors per table ``(num_rows, ..., channels)``, any views between.
            graph: The subgraph, with recency ranks and ages.

        Returns:
            Vectors of the targets per table ``(num_targets, ..., channels)``.
        """
        tables = self.schema.node_types
        sizes = [graph.num_nodes[table] for table in tables]
        if not self.static_features:
            timed = self.schema.tables
            x = {table: v if timed[table].time_column else torch.zeros_like(v) for table, v in x.items()}
        rows = torch.cat([x[table] for table in tables])  # (num_rows, ..., channels)
        views = rows.shape[1:-1]
        rows = rows.flatten(1, -2) if views else rows.unsqueeze(1)  # (num_rows, num_views, channels)
        table_of = torch.repeat_interleave(
            torch.arange(len(tables), device=rows.device),
            torch.tensor(sizes, device=rows.device),
            output_size=sum(sizes),
        )
        rows = self.row_norm(rows) + self.table_vector(table_of).unsqueeze(1)

        targets = {t: graph.num_targets.get(t, 0) if graph.num_targets else n for t, n in graph.num_nodes.items()}
        tokens = walk_paths(self.paths, graph, targets, self.rows_per_hop, self.follow, self.max_tokens)
        out = self._attend(rows, tokens)  # (num_targets, num_views, channels)
        out = out.unflatten(1, views) if views else out.squeeze(1)
        counts = [targets[table] for table in tables]
        return {
            table: part
            for table, part, n in zip(tables, out.split(counts), counts, strict=True)
            if n or not graph.num_targets
        }

    def _attend(self, rows: Tensor, tokens: Tokens) -> Tensor:
        """Runs the transformer over the tokens of each target. Returns ``(num_targets, num_views, channels)``."""
        place = self.path_vector(tokens.path) + self.rank_vector(
            tokens.rank.clamp(max=self.rank_vector.num_embeddings - 1)
        )
        age = self.age_map(self.age_features(tokens.age))  # (num_tokens, channels)
        place = place + torch.where((tokens.age >= 0).unsqueeze(-1), age, 0.0)
        place = place + (tokens.place == 0).unsqueeze(-1) * self.class_vector
        x = rows[tokens.node] + place.unsqueeze(1)  # (num_tokens, num_views, channels)
        x = self.input_dropout(x)
        for layer in self.layers[:-1]:
            x = layer(x, tokens)
        return self.norm(self.layers[-1](x, tokens, targets_only=True))


class AttentionLayer(nn.Module):
    """A pre-norm transformer layer over sets of tokens of different sizes.

    Maps of single tokens run on the tokens as they are, without padding; only attention sees padded sets.

    Args:
        channels: Width of the tokens.
        num_heads: Attention heads.
        dropout: Dropout rate of both branches.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.attention_out = nn.Linear(channels, channels)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, tokens: Tokens, targets_only: bool = False) -> Tensor:
        """Attends among the tokens of each target.

        Args:
            x: Tokens ``(num_tokens, num_views, channels)``.
            tokens: Where they belong.
            targets_only: Whether only the targets' own tokens are wanted, as in the last layer.

        Returns:
            The tokens ``(num_tokens, num_views, channels)``, or ``(num_targets, num_views, channels)``.
        """
        normed = self.attention_norm(x)
        key_value = self.key_value(normed)
        query = self.query(normed[tokens.first] if targets_only else normed)
        out = torch.zeros_like(query)
        for group in tokens.groups:
            asking = group.target.unsqueeze(1) if targets_only else group.token
            attended = self._attend(query[asking], key_value[group.token], group.padding)
            if targets_only:
                out = out.index_copy(0, group.target, attended.squeeze(1).to(out.dtype))
            else:
                out = out.index_copy(0, group.token[~group.padding], attended[~group.padding].to(out.dtype))
        x = (x[tokens.first] if targets_only else x) + self.dropout(self.attention_out(out))
        return x + self.dropout(self.feed_forward(x))

    def _attend(self, query: Tensor, key_value: Tensor, padding: Tensor) -> Tensor:
        """Attends within each set.

        Args:
            query: ``(num_sets, num_queries, num_views, channels)``.
            key_value: ``(num_sets, width, num_views, 2 * channels)``.
            padding: Where a set has no token ``(num_sets, width)``.

        Returns:
            What each query found ``(num_sets, num_queries, num_views, channels)``.
        """
        query, key, value = (
            part.transpose(1, 2).unflatten(-1, (self.num_heads, -1)).transpose(2, 3).flatten(0, 1)
            for part in (query, *key_value.chunk(2, dim=-1))
        )  # (num_sets * num_views, num_heads, num_queries or width, channels / num_heads)
        num_views = len(query) // len(padding)
        mask = ~padding.repeat_interleave(num_views, dim=0)[:, None, None]
        out = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return out.unflatten(0, (-1, num_views)).transpose(2, 3).flatten(3).transpose(1, 2)
