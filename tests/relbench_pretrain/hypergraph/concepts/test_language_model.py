"""Answers to prompts by a tiny model from a folder, and from files."""

from __future__ import annotations

import json

import pytest

from relbench_pretrain.hypergraph import HuggingFaceModel, HypergraphError, LanguageModel, StoredAnswers, ask_once
from relbench_pretrain.hypergraph.concepts.language_model import read_answer_lines


class Parrot(LanguageModel):
    name = "parrot"

    def __init__(self, voice: str = "high") -> None:
        self.settings, self.heard = {"voice": voice}, []

    def answer(self, prompt: str, source: str) -> str:
        self.heard.append(prompt)
        return f"{prompt}!\u2028"


def test_a_model_from_a_folder_answers_the_same_every_time(tiny_language_model):
    model = HuggingFaceModel(str(tiny_language_model), max_new_tokens=7, device="cpu")
    text = model.answer("cake birthday - dessert", "cake")
    words = text.replace("[UNK]", "x").split()
    assert 0 < len(words) <= 7
    assert set(words) <= {"x", *["cake", "birthday", "dessert", "party", "zoo", "animal", "-", ",", "(", ")"]}
    assert HuggingFaceModel(str(tiny_language_model), 7, "cpu").answer("cake birthday - dessert", "zoo") == text
    assert model.name == "tiny"


def test_the_chat_template_is_used_where_there_is_one(tiny_language_model, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_language_model)
    tokenizer.chat_template = "party zoo party {% for m in messages %}{{ m.content }}{% endfor %} party"
    tokenizer.save_pretrained(tmp_path / "chat")
    AutoModelForCausalLM.from_pretrained(tiny_language_model).save_pretrained(tmp_path / "chat")
    plain = HuggingFaceModel(str(tiny_language_model), 9, "cpu")
    chat = HuggingFaceModel(str(tmp_path / "chat"), 9, "cpu")
    found = chat.answer("cake - dessert", "cake")
    assert found == plain.answer("party zoo party cake - dessert party", "cake")
    assert found != plain.answer("cake - dessert", "cake")


def test_models_that_cannot_be_had_or_read_too_little_are_named(tiny_language_model, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(HypergraphError, match="empty' could not be loaded"):
        HuggingFaceModel(str(tmp_path / "empty")).answer("cake", "cake")
    with pytest.raises(HypergraphError, match="'tiny' reads 256 tokens; a prompt of 2 and max_new_tokens 255"):
        HuggingFaceModel(str(tiny_language_model), 255, "cpu").answer("cake zoo", "cake")


def test_stored_edges_come_as_text(concept_graphs):
    found = StoredAnswers(str(concept_graphs), "first")
    assert found.name == "first"
    assert found.answer("", "cake") == '("cake", "birthday")\n("dessert", "party")'
    assert found.answer("", "zoo") == ""
    with pytest.raises(HypergraphError, match="no answer of 'first' about 'sea'.*cake"):
        found.answer("", "sea")
    for model in ("third", None):
        with pytest.raises(HypergraphError, match=f"answers of .'first', 'second'.*none of '{model}'"):
            StoredAnswers(str(concept_graphs), model).answer("", "cake")


def test_stored_lines(tmp_path):
    path = tmp_path / "mine.jsonl"
    lines = [("cake", "x", "a"), ("cake", "y", "a"), ("zoo", "z", "b")]
    path.write_text("\n".join(json.dumps({"source": s, "text": t, "model": m}) for s, t, m in lines) + "\n\n")
    assert StoredAnswers(str(path)).answer("", "cake") == "y"  # the later one
    assert StoredAnswers(str(path)).name == "mine"
    assert StoredAnswers(str(path), "b").answer("", "zoo") == "z"
    with pytest.raises(HypergraphError, match="no answer of 'b' about 'cake'"):
        StoredAnswers(str(path), "b").answer("", "cake")


@pytest.mark.parametrize("line", ["{", '["source", "text"]', '{"source": "cake"}', '{"source": "cake", "text": 3}'])
def test_bad_lines_are_named(tmp_path, line):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"source": "cake", "text": ""}\n' + line)
    with pytest.raises(HypergraphError, match=r"mine\.jsonl, line 2"):
        StoredAnswers(str(path)).answer("", "cake")
    with pytest.raises(HypergraphError, match="there is no file"):
        StoredAnswers(str(tmp_path / "none.jsonl")).answer("", "cake")


def test_nothing_is_asked_twice(tmp_path):
    path, model = tmp_path / "deep" / "answers.jsonl", Parrot()
    assert [ask_once(model, p, "cake", path) for p in ("a", "b", "a")] == ["a!\u2028", "b!\u2028", "a!\u2028"]
    assert model.heard == ["a", "b"]
    other = Parrot("low")
    ask_once(other, "a", "cake", path)
    assert other.heard == ["a"]  # other settings, another answer
    assert [line["source"] for line in read_answer_lines(path)] == ["cake"] * 3
    assert StoredAnswers(str(path), "parrot").answer("", "cake") == "a!\u2028"
