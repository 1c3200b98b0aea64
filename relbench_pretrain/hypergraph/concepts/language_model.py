"""Language models that answer prompts, files of their answers, and the score of an answer."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from relbench_pretrain.hypergraph.concepts.answers import answer_dissimilarity, edge_prompt, edge_text, parse_answer
from relbench_pretrain.hypergraph.concepts.graphs import read_concept_graphs
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError

RATIOS = ["induced", "entrywise", "precision", "recall"]
COUNTS = ["true_edges", "edges", "wrong_edges", "self_loops", "unknown"]


class LanguageModel(ABC):
    """Answers prompts.

    Attributes:
        name: What tables call it.
        settings: What else its answers depend on, as plain JSON.
    """

    name: str
    settings: dict[str, Any]

    @abstractmethod
    def answer(self, prompt: str, source: str) -> str:
        """Returns the answer to a prompt.

        Args:
            prompt: What is asked.
            source: The name of the graph that it is asked about.
        """


class HuggingFaceModel(LanguageModel):
    """A causal language model of Hugging Face's transformers, which always takes the likeliest next token.

    Where its tokenizer has a chat template, the prompt is a user's turn.

    Args:
        model: A name on the Hub, or a folder with weights and tokenizer.
        max_new_tokens: How long an answer may be.
        device: Such as ``cpu`` or ``cuda:0``; by default a GPU where there is one.
        dtype: The type of the weights, such as ``bfloat16``; by default that of the files.
    """

    def __init__(self, model: str, max_new_tokens: int = 512, device: str | None = None, dtype: str = "auto") -> None:
        self.model, self.max_new_tokens, self.device, self.dtype = model, max_new_tokens, device, dtype
        self.name = Path(model).name if Path(model).is_dir() else model
        self.settings = {"model": model, "max_new_tokens": max_new_tokens, "dtype": dtype}

    def answer(self, prompt: str, source: str) -> str:
        """Returns the answer to a prompt.

        Raises:
            HypergraphError: If there is no such model, or prompt and answer are longer than it can read.
        """
        chat = self._pipeline.tokenizer.chat_template is not None
        text = [{"role": "user", "content": prompt}] if chat else prompt
        longest = getattr(self._pipeline.model.config, "max_position_embeddings", None)
        asked = len(self._pipeline.tokenizer(prompt)["input_ids"])
        if longest is not None and asked + self.max_new_tokens > longest:
            raise HypergraphError(
                f"model '{self.name}' reads {longest} tokens; a prompt of {asked} and max_new_tokens "
                f"{self.max_new_tokens} are more: set max_new_tokens lower"
            )
        found = self._pipeline(text, max_new_tokens=self.max_new_tokens, do_sample=False, return_full_text=False)
        return found[0]["generated_text"]

    @cached_property
    def _pipeline(self) -> Any:
        from transformers import pipeline

        try:
            return pipeline("text-generation", model=self.model, device=self.device, dtype=self.dtype)
        except (OSError, ValueError) as error:
            raise HypergraphError(
                f"'{self.model}' could not be loaded as a causal language model; give a name on the Hub or a folder "
                f"with weights and tokenizer: {error}"
            ) from error


class StoredAnswers(LanguageModel):
    """Answers from a file.

    Args:
        path: JSON lines, each with ``source`` and ``text``, of which the last counts where a source comes twice; or a
            JSON list of graphs of concepts with ``answers`` by model, see :func:`read_concept_graphs`.
        model: Whose answers, where the file has those of several; it is the name in tables too.
    """

    def __init__(self, path: str, model: str | None = None) -> None:
        self.path, self.model = Path(path), model
        self.name = model or self.path.stem
        self.settings = {"path": path}

    @classmethod
    def of_every_model(cls, path: str) -> list[StoredAnswers]:
        """Returns the answers of each model in a file of graphs of concepts.

        Raises:
            HypergraphError: If the file holds none.
        """
        entries = read_concept_graphs(path) if Path(path).suffix == ".json" else []
        names = dict.fromkeys(name for entry in entries for name in entry.answers)
        if not names:
            raise HypergraphError(f"'{path}' holds no answers; say who answers, as in --models+=HuggingFaceModel")
        return [cls(path, name) for name in names]

    def answer(self, prompt: str, source: str) -> str:
        """Returns the stored answer.

        Raises:
            HypergraphError: If the file is missing or bad, or has no answer about the graph.
        """
        if source not in self._texts:
            who = f" of '{self.model}'" if self.model else ""
            raise HypergraphError(f"'{self.path}' has no answer{who} about '{source}'; it has {list(self._texts)}")
        return self._texts[source]

    @cached_property
    def _texts(self) -> dict[str, str]:
        if self.path.suffix == ".json":
            return self._edges_as_texts()
        lines = [line for line in read_answer_lines(self.path) if self.model in (None, line.get("model", self.model))]
        return {line["source"]: line["text"] for line in lines}

    def _edges_as_texts(self) -> dict[str, str]:
        graphs = read_concept_graphs(self.path)
        models = list(dict.fromkeys(model for graph in graphs for model in graph.answers))
        if self.model not in models and (self.model or len(models) != 1):
            raise HypergraphError(f"'{self.path}' has the answers of {models}, none of '{self.model}'; name one")
        name = self.model or models[0]
        return {graph.name: edge_text(graph.answers[name]) for graph in graphs if name in graph.answers}


def ask_once(model: LanguageModel, prompt: str, source: str, path: Path) -> str:
    """Returns a model's answer from a file of answers or, where it is not there yet, asks and writes it down.

    A line of the file is JSON with model, settings, source, prompt and text; an answer counts for the same model,
    settings and prompt.

    Args:
        model: The model.
        prompt: What is asked.
        source: The name of the graph that it is asked about.
        path: The file, which is made where it is not there.

    Raises:
        HypergraphError: If a line of the file is bad.
    """
    asked = {"model": model.name, "settings": model.settings, "prompt": prompt}
    if path.is_file():
        for line in read_answer_lines(path):
            if all(line.get(key) == value for key, value in asked.items()):
                return line["text"]
    text = model.answer(prompt, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**asked, "source": source, "text": text}, ensure_ascii=False) + "\n")
    return text


def ask_for_graph(
    model: LanguageModel, source: str, truth: Hypergraph, related: int, path: Path
) -> dict[str, str | int | float]:
    """Asks a model for the edges of a graph of concepts, and compares its answer with the true ones.

    Args:
        model: The model.
        source: The name of the graph.
        truth: The graph.
        related: How many related concepts the prompt says to consider for each.
        path: The file of answers, see :func:`ask_once`.

    Returns:
        A row of a table: the model, the source, ratios and counts.
    """
    prompt = edge_prompt(truth.nodes, related)
    stored = isinstance(model, StoredAnswers)
    text = model.answer(prompt, source) if stored else ask_once(model, prompt, source, path)
    answer = parse_answer(text, truth.nodes)
    found = answer_dissimilarity(truth, answer)
    return {
        "model": model.name,
        "source": source,
        **{name: getattr(found, name) for name in RATIOS},
        "true_edges": truth.num_edges,
        "edges": len(answer.edges),
        "wrong_edges": found.wrong_edges,
        "self_loops": answer.self_loops,
        "unknown": answer.unknown,
    }


def read_answer_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the answers of a file of JSON lines, each with at least source and text.

    Raises:
        HypergraphError: If there is no such file, or a line is bad; it is named.
    """
    if not path.is_file():
        raise HypergraphError(f"there is no file '{path}': give one of answers, .json or .jsonl")
    for number, text in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            raise HypergraphError(f"{path}, line {number}: {error}; correct it or leave it out") from error
        if not isinstance(line, dict) or not all(isinstance(line.get(key), str) for key in ("source", "text")):
            raise HypergraphError(f'{path}, line {number}: it should be like {{"source": "cake", "text": "…"}}')
        yield line
