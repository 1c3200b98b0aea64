"""The command that asks language models, on stored answers and on a tiny model."""

from __future__ import annotations

import json
from itertools import pairwise

import pandas as pd
import pytest

from relbench_pretrain.cli import main
from relbench_pretrain.commands.ask import ask
from relbench_pretrain.hypergraph import HuggingFaceModel, HypergraphError, LanguageModel, StoredAnswers

PUBLISHED = {"llama-2-70b": (1.108, 0.871), "gpt-3.5-turbo-0613": (0.983, 0.700), "gpt-4-0613": (0.983, 0.712)}


class Echo(LanguageModel):
    """Names every pair of neighbours in the list of concepts, until it has had enough."""

    name, settings = "echo", {}

    def __init__(self, enough: int) -> None:
        self.left, self.asked = enough, []

    def answer(self, prompt: str, source: str) -> str:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked.append(source)
        names = prompt.split(": ", 1)[1].split(".\n")[0].split(", ")
        return "\n".join(f"{a} - {b}" for a, b in pairwise(names))


def test_all_stored_models_give_the_published_means(shared_data, tmp_path):
    path = shared_data / "hypergraph" / "conceptnet_llm_answers.json"
    main(["ask", str(path), f"--output_dir={tmp_path}"])
    table = pd.read_csv(tmp_path / "answers.csv")
    assert len(table) == 30
    assert table[["self_loops", "unknown"]].sum().sum() == 0
    means = table.groupby("model")[["induced", "entrywise"]].mean()
    assert {model: tuple(round(value, 3) for value in row) for model, row in means.iterrows()} == PUBLISHED
    lines = (tmp_path / "answers.md").read_text().splitlines()
    assert "| llama-2-70b | 1.108 | 0.871 | 0.636 | 0.500 | 11.3 | 9.6 | 9.7 | 0.0 | 0.0 |" in lines
    assert not (tmp_path / "answers.jsonl").exists()


def test_one_row_for_every_model_and_graph(concept_graphs, tmp_path, capsys):
    ask(str(concept_graphs), output_dir=str(tmp_path))
    table = pd.read_csv(tmp_path / "answers.csv", index_col=["model", "source"])
    assert list(table.index) == [(m, s) for m in ("first", "second") for s in ("cake", "zoo")]
    assert table.loc[("second", "cake"), ["induced", "wrong_edges", "precision", "recall"]].tolist() == [0, 0, 1, 1]
    assert table.loc[("first", "zoo"), ["induced", "edges", "wrong_edges", "recall"]].tolist() == [1, 0, 2, 0]
    # one of three right and one wrong: three wrong; birthday, of degree 2, misses party, and party has one too many
    assert table.loc[("first", "cake"), "entrywise"] == 1
    assert table.loc[("first", "cake"), "induced"] == 1
    assert (tmp_path / "answers.md").read_text().strip() in capsys.readouterr().out


def test_an_interrupted_run_goes_on(concept_graphs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ask(str(concept_graphs), [Echo(1)], str(tmp_path))
    assert [json.loads(line)["source"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()] == ["cake"]
    again = Echo(9)
    ask(str(concept_graphs), [again], str(tmp_path))
    assert again.asked == ["zoo"]
    table = pd.read_csv(tmp_path / "answers.csv", index_col="source")
    assert table["edges"].tolist() == [3, 2]
    assert table["wrong_edges"].tolist() == [4, 0]
    ask(str(concept_graphs), [Echo(9)], str(tmp_path), width=3)  # another prompt
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 4
    lines = StoredAnswers(str(tmp_path / "answers.jsonl"))
    ask(str(concept_graphs), [lines], str(tmp_path / "again"), ["zoo"])
    assert pd.read_csv(tmp_path / "again" / "answers.csv")["wrong_edges"].tolist() == [0]


def test_a_model_of_hugging_face_and_stored_answers_in_one_command(
    concept_graphs, tiny_language_model, tmp_path, monkeypatch
):
    args = ["ask", str(concept_graphs), f"--output_dir={tmp_path}", "--sources=[cake]"]
    args += ["--models+=StoredAnswers", f"--models.path={concept_graphs}", "--models.model=second"]
    args += ["--models+=HuggingFaceModel", f"--models.model={tiny_language_model}", "--models.max_new_tokens=5"]
    main(args)
    first = (tmp_path / "answers.csv").read_text()
    assert pd.read_csv(tmp_path / "answers.csv")["model"].tolist() == ["second", "tiny"]
    monkeypatch.setattr(HuggingFaceModel, "answer", None)  # asked again, it fails
    main(args)
    assert (tmp_path / "answers.csv").read_text() == first


def test_graphs_are_grown_from_assertions(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("a\tr\tb\nb\tr\tc\nc\tr\td\nd\tr\te\n")
    model = Echo(9)
    ask(str(path), [model], str(tmp_path / "out"), ["a", "c"], width=2, depth=1)
    table = pd.read_csv(tmp_path / "out" / "answers.csv", index_col="source")
    assert table["true_edges"].to_dict() == {"a": 1, "c": 2}
    with pytest.raises(HypergraphError, match="a.tsv' holds assertions; name the words"):
        ask(str(path), [model], str(tmp_path / "out"))


def test_what_cannot_be_asked_is_said(concept_graphs, tmp_path, capsys):
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps([{"source": "a", "concepts": ["a", "b"], "edges": [[0, 1]]}]))
    with pytest.raises(HypergraphError, match="holds no answers; say who answers"):
        ask(str(bare), output_dir=str(tmp_path / "out"))
    with pytest.raises(HypergraphError, match="no graph of 'sea' with edges; it has .'cake', 'zoo'"):
        ask(str(concept_graphs), output_dir=str(tmp_path / "out"), sources=["sea"])
    with pytest.raises(HypergraphError, match="two models are called 'echo'"):
        ask(str(concept_graphs), [Echo(9), Echo(9)], str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit, match="2"):
        main(["ask", str(tmp_path / "none.json")])
    assert "error: there is no file" in capsys.readouterr().err
