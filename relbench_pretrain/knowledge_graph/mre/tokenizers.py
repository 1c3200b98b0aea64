"""Texts to numbers of words."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
import torch
from torch import Tensor

from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError


class TextTokenizer(ABC):
    """Turns texts into numbers of words, 0 for none.

    Args:
        length: The most words of a text; the rest is cut off.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"length must be positive, got {length}")
        self.length = length

    @abstractmethod
    def prepare(self, texts: Sequence[str]) -> tokenizers.Tokenizer:
        """Returns the tokenizer for a graph's texts."""

    def __call__(self, texts: Sequence[str], known: Sequence[str]) -> tuple[Tensor, int, str]:
        """Tokenizes.

        Args:
            texts: The texts.
            known: Those that the vocabulary may be made from.

        Returns:
            Numbers of words ``(num_texts, length)``, how many numbers there are, 0 included, and a hash of which word
            has which.
        """
        tokenizer = self.prepare(known)
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.length)
        numbers = np.zeros((len(texts), self.length), dtype=np.int64)
        for row, encoding in zip(numbers, tokenizer.encode_batch(list(texts)), strict=True):
            row[: len(encoding.ids)] = np.array(encoding.ids, dtype=np.int64) + 1
        words = sorted(tokenizer.get_vocab().items())
        digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]
        return torch.from_numpy(numbers), tokenizer.get_vocab_size() + 1, digest


class GraphWords(TextTokenizer):
    """The words of the graph's own texts, in lower case; rare ones are one and the same unknown word.

    Args:
        length: The most words of a text.
        min_frequency: How often a word must come to be known.
    """

    def __init__(self, length: int = 64, min_frequency: int = 2) -> None:
        super().__init__(length)
        self.min_frequency = min_frequency

    def prepare(self, texts: Sequence[str]) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
        tokenizer.normalizer = tokenizers.normalizers.Lowercase()
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        trainer = tokenizers.trainers.WordLevelTrainer(
            min_frequency=self.min_frequency, special_tokens=["[UNK]"], show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer


class PretrainedTokenizer(TextTokenizer):
    """A Hugging Face tokenizer, by the name of a model on the Hub or a folder with its ``tokenizer.json``.

    Args:
        model: Name or folder.
        length: The most tokens of a text, special ones included.
    """

    def __init__(self, model: str, length: int = 64) -> None:
        super().__init__(length)
        self.model = model

    def prepare(self, texts: Sequence[str]) -> tokenizers.Tokenizer:
        path = Path(self.model)
        try:
            if path.is_dir():
                return tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
            return tokenizers.Tokenizer.from_pretrained(self.model)
        except Exception as error:  # the library raises bare Exception
            raise KnowledgeGraphError(
                f"no tokenizer '{self.model}' ({error}): give the name of a model on the Hub, or a folder with a "
                "tokenizer.json"
            ) from None
