"""A file of two concept graphs, and a tiny language model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CAKE = {
    "source": "cake",
    "concepts": ["cake", "birthday", "dessert", "party"],
    "edges": [[0, 1], [0, 2], [1, 3]],
    "answers": {"first": [[0, 1], [2, 3]], "second": [[0, 1], [2, 0], [1, 3]]},
}
ZOO = {
    "source": "zoo",
    "concepts": ["zoo", "animal", "yo-yo"],
    "edges": [[0, 1], [1, 2]],
    "answers": {"first": [], "second": [[0, 2]]},
}


@pytest.fixture
def concept_graphs(tmp_path) -> Path:
    path = tmp_path / "graphs.json"
    path.write_text(json.dumps([CAKE, ZOO]))
    return path


@pytest.fixture(scope="session")
def tiny_language_model(tmp_path_factory) -> Path:
    """A GPT-2 of a few random weights that knows words, in a folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(["cake birthday dessert party zoo animal - , ( )"],
                              trainers.WordLevelTrainer(special_tokens=["[UNK]", "[EOS]"]))  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[EOS]", pad_token="[EOS]")
    torch.manual_seed(0)
    network = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(words.get_vocab()), n_positions=256, n_embd=8, n_layer=1, n_head=1,
                   bos_token_id=1, eos_token_id=1, pad_token_id=1)
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer.save_pretrained(folder)
    network.save_pretrained(folder)
    return folder
