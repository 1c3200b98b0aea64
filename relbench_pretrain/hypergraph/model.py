"""The masked model: BERT over nodes, whose last layer and head are computed at masked places only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relbench_pretrain.hypergraph.corpus.batches import NUM_SPECIAL, Specials, to_tokens
from relbench_pretrain.hypergraph.hypergraph import HypergraphError
from relbench_pretrain.hypergraph.rows import widened
from relbench_pretrain.pretrained import SharedNetwork
from relbench_pretrain.pretrained.card import CardText

if TYPE_CHECKING:
    from transformers import BertModel
    from transformers.models.bert.modeling_bert import BertLayer


READ_SIZE = 1_024
"""Sequences that are read at a time."""


class NodeBert(SharedNetwork):
    """Hugging Face's BERT, trained from scratch (Chen et al. 2024, section 5; Devlin et al. 2019).

    The defaults are BERT-base, as in the paper. A small one with an output width of a quarter of the nodes or more
    learns conditionals as well: that width bounds the rank of their logarithms.

    Of the last layer, nothing but its output at masked places is used; so queries, feed-forward layer and head are
    computed there alone, which gives the same numbers as computing them everywhere.

    Args:
        num_layers: Transformer layers.
        width: Channels of each token.
        num_heads: Attention heads.
        intermediate: Channels of the feed-forward layers.
        dropout: Of embeddings, attention and hidden channels.
        output_width: Channels of the last layer before the nodes; by default those of a token, and the nodes' output
            vectors are their embeddings, as in BERT.
        positions: Whether a token knows its place; a hyperedge is a set, so without, the model need not learn that
            order means nothing.
    """

    card = CardText("a masked model of hyperedges, from which a weighted hypergraph can be read out", "hypergraph")

    def __init__(
        self,
        num_layers: int = 12,
        width: int = 768,
        num_heads: int = 12,
        intermediate: int = 3072,
        dropout: float = 0.1,
        output_width: int | None = None,
        positions: bool = True,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise HypergraphError(f"num_layers must be at least 1, got {num_layers}")
        if width % num_heads:
            raise HypergraphError(f"width {width} is no multiple of num_heads {num_heads}")
        self.num_layers, self.width, self.num_heads = num_layers, width, num_heads
        self.intermediate, self.dropout = intermediate, dropout
        self.output_width, self.positions = output_width, positions
        self.encoder: BertModel | None = None
        self.last: BertLayer | None = None
        self.nodes: list[str] | None = None

    def build(self, num_nodes: int, length: int, padded: bool = True) -> None:
        """Creates the parameters; a second call changes nothing.

        Args:
            num_nodes: The number of nodes.
            length: The most tokens in a sequence.
            padded: Whether sequences differ in length.
        """
        if self.encoder is not None:
            return
        from transformers import BertConfig, BertModel  # seconds to import, so only where it is used
        from transformers.models.bert.modeling_bert import BertLayer, BertPredictionHeadTransform

        config = BertConfig(
            vocab_size=num_nodes + NUM_SPECIAL,
            hidden_size=self.width,
            num_hidden_layers=self.num_layers - 1,
            num_attention_heads=self.num_heads,
            intermediate_size=self.intermediate,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            max_position_embeddings=max(length, 8),
            type_vocab_size=1,
            pad_token_id=Specials.after(num_nodes).pad,
        )
        config._attn_implementation = "sdpa"
        self.num_nodes, self.length, self.padded = num_nodes, length, padded
        self.pad = Specials.after(num_nodes).pad
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.last = BertLayer(config)
        self.last.apply(self.encoder._init_weights)
        self.transform = BertPredictionHeadTransform(config)
        self.bias = nn.Parameter(torch.zeros(num_nodes))
        self.decoder: nn.Linear | None = None
        if self.output_width is not None:
            self.transform.dense = nn.Linear(self.width, self.output_width)
            self.transform.LayerNorm = nn.LayerNorm(self.output_width, eps=config.layer_norm_eps)
            self.decoder = nn.Linear(self.output_width, num_nodes, bias=False)
            nn.init.normal_(self.decoder.weight, std=config.initializer_range)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The layers that are computed as wholes: all but the last."""
        return self.encoder.encoder.layer

    def built_for(self) -> dict[str, Any] | None:
        """Returns the names of the nodes, the length of sequences and whether they differ in it."""
        if self.encoder is None:
            return None
        nodes = self.nodes or [str(i) for i in range(self.num_nodes)]
        return {"nodes": nodes, "length": self.length, "padded": self.padded}

    def data_facts(self) -> dict[str, Any]:
        """Returns that the names of nodes are stored."""
        return {"names in `config.json`": f"those of its {self.num_nodes} nodes"}

    def build_for(self, description: dict[str, Any]) -> None:
        """Creates the parameters for the nodes."""
        self.nodes = list(description["nodes"])
        self.build(len(self.nodes), description["length"], description["padded"])

    def log_conditionals(self, contexts: np.ndarray, masked: int = 1) -> np.ndarray:
        """Returns the log-probability of every node at a masked place beside a context.

        Args:
            contexts: Nodes, −1 at the end ``(num_contexts, width)``; width 0 shows no node.
            masked: How many nodes are masked beside it; of their places the mean is taken.

        Returns:
            ``(num_contexts, num_nodes)``, −∞ for nodes of the context; what is left sums to 1.
        """
        mask = Specials.after(self.num_nodes).mask
        number = len(contexts)
        known = (contexts >= 0).sum(1)
        shown = np.concatenate([contexts, np.full((number, masked), -1)], axis=1)
        for offset in range(masked):
            shown[np.arange(number), known + offset] = mask
        parts = []
        for first in range(0, number, READ_SIZE):
            these = slice(first, first + READ_SIZE)
            context, place = np.nonzero(contexts[these] >= 0)
            total = torch.zeros(1, dtype=torch.double)
            for offset in range(masked):
                logits = self._read(shown[these], known[these] + offset)
                logits[context, contexts[these][context, place]] = -torch.inf
                total = total + logits.softmax(-1) / masked
            parts.append(total.log().numpy())
        return np.concatenate(parts)

    @torch.no_grad()
    def _read(self, shown: np.ndarray, place: np.ndarray) -> Tensor:
        """Returns the logits of all nodes at a place of each sequence ``(num_sequences, num_nodes)``, on the CPU."""
        filled = widened(shown, self.length - 2) if self.padded else shown
        tokens = torch.from_numpy(to_tokens(filled, Specials.after(self.num_nodes))).to(self.bias.device)
        row = torch.arange(len(shown), device=tokens.device)
        training = self.training
        self.eval()
        logits = self(tokens, row, torch.from_numpy(place + 1).to(tokens.device))
        self.train(training)
        return logits.float().cpu().double()

    def forward(self, tokens: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Returns the logits of all nodes at some places.

        Args:
            tokens: ``(num_sequences, length)``.
            row: The sequence of each place ``(num_places,)``.
            column: The place in the sequence ``(num_places,)``.

        Returns:
            ``(num_places, num_nodes)``.
        """
        there = tokens != self.pad if self.padded else None
        places = None if self.positions else torch.zeros_like(tokens)
        # A mask in four dimensions is taken as it is; of one in two, transformers asks the device whether it is needed.
        mask = None if there is None else there[:, None, None].expand(-1, 1, tokens.shape[1], -1)
        output = self.encoder(input_ids=tokens, attention_mask=mask, position_ids=places)
        states = self._last_layer(output.last_hidden_state, there, row, column)  # (num_places, width)
        states = self.transform(states)  # (num_places, output_width)
        if self.decoder is not None:
            return self.decoder(states) + self.bias
        vectors = self.encoder.embeddings.word_embeddings.weight[: self.num_nodes]
        return F.linear(states, vectors, self.bias)

    def _last_layer(self, hidden: Tensor, there: Tensor | None, row: Tensor, column: Tensor) -> Tensor:
        """Returns the last layer's output at some places ``(num_places, width)``."""
        asking = hidden[row, column]
        attention = self.last.attention.self
        query = self._heads(attention.query(asking)[:, None])  # (num_places, num_heads, 1, channels)
        key, value = (self._heads(part(hidden))[row] for part in (attention.key, attention.value))
        seen = F.scaled_dot_product_attention(
            query, key, value,
            attn_mask=None if there is None else there[row][:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
        ).reshape(len(row), self.width)  # fmt: skip
        attended = self.last.attention.output(seen, asking)
        return self.last.output(self.last.intermediate(attended), attended)

    def _heads(self, states: Tensor) -> Tensor:
        """Splits channels over heads: ``(num, length, width)`` to ``(num, num_heads, length, channels)``."""
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
