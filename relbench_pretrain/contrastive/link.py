"""The link level: a row must find the rows that it is linked to among those of their table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.data import HeteroData
from torch_geometric.nn.parameter_dict import ParameterDict

from relbench_pretrain.contrastive.blocks import (
    PADDED_ROWS,
    Side,
    blocks,
    negatives,
    pack,
    pad_stack,
    similarity,
    similarity_chunks,
)
from relbench_pretrain.contrastive.infonce import (
    AnchorLosses,
    at_least_float32,
    count,
    negative_logsumexp,
    sample_negatives,
)
from relbench_pretrain.contrastive.objective import ContrastiveObjective, require_lengths
from relbench_pretrain.relational.schema import EdgeType, ForeignKey, GraphSchema


class LinkContrast(ContrastiveObjective):
    """Link-level contrast of Peleška and Šír (2025): s_ij = x_iᵀ W_r x_j / τ for a child i and a parent j.

    The reverse direction uses W_rᵀ, hence the same similarities. Where negatives are sampled, they are the same for
    all links of a parent. See :class:`ContrastiveObjective` for the arguments.
    """

    def _build(self, schema: GraphSchema, channels: int) -> None:
        self.bilinear = ParameterDict()
        self.foreign_keys = schema.foreign_keys
        bound = 1 / math.sqrt(channels)  # that of torch.nn.Bilinear
        for key in self.foreign_keys:
            self.bilinear[key.edge_type] = Parameter(torch.empty(channels, channels).uniform_(-bound, bound))

    def forward(
        self,
        x: dict[str, Tensor],
        row_id: dict[str, Tensor],
        parent_index: dict[EdgeType, Tensor],
        parent_id: dict[EdgeType, Tensor],
        generator: torch.Generator | None = None,
    ) -> AnchorLosses:
        """Computes the loss of each link, once from the child and once from the parent.

        Args:
            x: The network's output by table, ``(num_rows, channels)``.
            row_id: Number of each row in its table, at least 0, ``(num_rows,)``.
            parent_index: By ``ForeignKey.edge_type`` the place of each child's parent in
                ``x[parent]``, −1 where the parent is not there, ``(num_children,)``.
            parent_id: By ``ForeignKey.edge_type`` the number of each child's parent, −1 for a
                null, ``(num_children,)``. It counts also where the parent is not there. A foreign
                key that is left out of both dictionaries has no links.
            generator: Draws the negatives where there are too many.

        Returns:
            The losses of all children and of all of their parents; those of padding and of
            children whose parent is not there, without negatives, among them.

        Raises:
            ValueError: If a table or a foreign key is not in the schema, or numbers of rows or keys differ.
        """
        if one_sided := parent_index.keys() ^ parent_id.keys():
            raise ValueError(f"parent_index and parent_id must have the same keys; only one has {sorted(one_sided)}")
        rows, row_id = self._rows_and_ids(x, row_id)
        places = self._by_foreign_key("parent_index", parent_index, row_id)
        linked = self._by_foreign_key("parent_id", parent_id, row_id)
        pool = (self._pool(rows), self._pool(row_id), self._pool(linked))

        size = {key: _size(key, rows, pool[0]) if key.edge_type in parent_id else 0 for key in self.foreign_keys}
        parts = [self._unused([self.bilinear[key.edge_type] for key in size if not size[key]], pool[0])]
        for keys in blocks(size):
            child, parent = _sides(keys, rows, row_id, linked)
            weight = torch.stack([self.bilinear[key.edge_type] for key in keys])  # (keys, channels, channels)
            index = pad_stack([places[key] for key in keys], value=-1)  # (keys, children)
            place = index.clamp(min=0)
            if self.gather_negatives or size[keys[0]] > PADDED_ROWS:
                found = self._by_direction(child, parent, *_sides(keys, *pool), weight, place, generator)
            else:
                found = self._at_once(child, parent, weight, place, generator)
            parts += _losses_of_links(found, index >= 0, place)
        return AnchorLosses.concatenate(parts)

    def _by_foreign_key(
        self, name: str, values: Mapping[EdgeType, Tensor], row_id: Mapping[str, Tensor]
    ) -> dict[ForeignKey, Tensor]:
        """Returns the values of all foreign keys in the order of the schema, −1 for those that are left out."""
        if unknown := values.keys() - {key.edge_type for key in self.foreign_keys}:
            raise ValueError(f"{name} has the edge types {sorted(unknown)}, which are no foreign keys of the schema")
        full = {
            key: values[key.edge_type] if key.edge_type in values else _nowhere(row_id[key.child])
            for key in self.foreign_keys
        }
        require_lengths(name, full, {key: row_id[key.child] for key in full})
        return full

    def _at_once(
        self, child: Side, parent: Side, weight: Tensor, place: Tensor, generator: torch.Generator | None
    ) -> _Found:
        """Computes both directions from one matrix of similarities, ``(keys, children, parents)``."""
        similar = similarity(child.rows @ weight, parent.rows, self.temperature)
        is_negative = negatives(child, parent)
        return _Found(
            similar.gather(-1, place.unsqueeze(-1)).squeeze(-1),
            *self._negatives(similar, is_negative, -1, generator),
            *self._negatives(similar, is_negative, -2, generator),
        )

    def _by_direction(
        self,
        child: Side,
        parent: Side,
        children: Side,
        parents: Side,
        weight: Tensor,
        place: Tensor,
        generator: torch.Generator | None,
    ) -> _Found:
        """Computes each direction from chunks of its anchors, which bounds the memory.

        ``child`` is looked for among ``parents``, and ``parent`` among ``children``. It costs a second
        matrix of similarities.
        """
        query = child._replace(rows=child.rows @ weight)
        own_parent = parent.rows.gather(1, place.unsqueeze(-1).expand_as(child.rows))  # (keys, children, channels)
        return _Found(
            (at_least_float32(query.rows) * own_parent).sum(-1) / self.temperature,
            *self._chunked_negatives(query, parents, generator),
            *self._chunked_negatives(parent._replace(rows=parent.rows @ weight.mT), children, generator),
        )

    def _chunked_negatives(
        self, anchor: Side, candidate: Side, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        chunks = similarity_chunks(anchor, candidate, self.temperature)
        parts = [self._negatives(similar, is_negative, -1, generator) for _, similar, is_negative in chunks]
        log_sum, count = zip(*parts, strict=True)
        return torch.cat(log_sum, dim=-1), torch.cat(count, dim=-1)

    def _negatives(
        self, similar: Tensor, is_negative: Tensor, dim: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Returns the log-sum-exp and the number of the negatives along ``dim``, ``(keys, anchors)`` each."""
        if similar.size(dim) > self.max_negatives + 1:
            similar, is_negative = similar.transpose(dim, -1), is_negative.transpose(dim, -1)
            similar, is_negative = sample_negatives(similar, is_negative, self.max_negatives, generator)
            dim = -1
        return negative_logsumexp(similar, is_negative, dim), count(is_negative, dim)


def linked_parents(batch: HeteroData, schema: GraphSchema) -> tuple[dict[EdgeType, Tensor], dict[EdgeType, Tensor]]:
    """Finds the parents of the rows of a mini-batch, as :class:`LinkContrast` takes them.

    Args:
        batch: The batch, see :class:`relbench_pretrain.sampling.RelationalLoader`.
        schema: The tables and foreign keys.

    Returns:
        ``parent_index`` and ``parent_id``.
    """
    index, number = {}, {}
    for key in schema.foreign_keys:
        place = torch.full_like(batch[key.child].n_id, -1)
        # A time limit may leave only one direction of a link; together they have all links.
        child, parent = batch[key.edge_type].edge_index
        place[child] = parent
        parent, child = batch[key.reverse_edge_type].edge_index
        place[child] = parent
        index[key.edge_type] = place
        number[key.edge_type] = batch[key.child].parent_id[:, schema.key_column(key)]
    return index, number


class _Found(NamedTuple):
    """Similarities of the links by child, log-sum-exp and number of the negatives by child, then by parent."""

    positive: Tensor
    forward: Tensor
    forward_count: Tensor
    reverse: Tensor
    reverse_count: Tensor


def _losses_of_links(found: _Found, linked: Tensor, place: Tensor) -> list[AnchorLosses]:
    """Computes the losses of the links in both directions, ``(keys, children)`` each."""
    reverse, reverse_count = found.reverse.gather(-1, place), found.reverse_count.gather(-1, place)
    return [
        AnchorLosses.of_anchors(found.positive, found.forward, found.forward_count.where(linked, 0)),
        AnchorLosses.of_anchors(found.positive, reverse, reverse_count.where(linked, 0)),
    ]


def _size(key: ForeignKey, rows: Mapping[str, Tensor], pool: Mapping[str, Tensor]) -> int:
    """Returns the rows of the larger table, 0 if there is no link to be an anchor."""
    if not (len(rows[key.child]) and len(rows[key.parent])):
        return 0
    return max(len(pool[key.child]), len(pool[key.parent]))


def _sides(
    keys: Sequence[ForeignKey],
    rows: Mapping[str, Tensor],
    row_id: Mapping[str, Tensor],
    linked: Mapping[ForeignKey, Tensor],
) -> tuple[Side, Side]:
    """Packs the children and the parents of several foreign keys.

    They share a label where they are linked and, under a self-reference, where they are the same row.
    """
    child = pack([rows[key.child] for key in keys], [row_id[key.child] for key in keys])
    parent = pack([rows[key.parent] for key in keys], [row_id[key.parent] for key in keys])
    labels = [[linked[key] for key in keys]]
    if any(key.child == key.parent for key in keys):
        labels.append([row_id[key.child] if key.child == key.parent else _nowhere(linked[key]) for key in keys])
    child = child._replace(labels=[pad_stack(label, value=-1) for label in labels])
    return child, parent._replace(labels=[*parent.labels] * len(labels))


def _nowhere(like: Tensor) -> Tensor:
    """Returns −1 for every entry."""
    return torch.full_like(like, -1)
