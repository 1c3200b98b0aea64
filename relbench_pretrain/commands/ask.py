"""Asking language models for the edges of graphs of concepts, and what their answers are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from relbench_pretrain.evaluation.tables import markdown
from relbench_pretrain.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.concepts.answers import answer_dissimilarity, edge_prompt, parse_answer
from relbench_pretrain.hypergraph.concepts.assertions import read_assertions
from relbench_pretrain.hypergraph.concepts.graphs import grow, read_concept_graphs
from relbench_pretrain.hypergraph.concepts.language_model import LanguageModel, StoredAnswers, ask_once

COUNTS = ["true_edges", "edges", "wrong_edges", "self_loops", "unknown"]
RATIOS = ["induced", "entrywise", "precision", "recall"]


def ask(
    graphs: str,
    models: list[LanguageModel] | None = None,
    output_dir: str = "runs/ask",
    sources: list[str] | None = None,
    width: int = 2,
    depth: int = 3,
    language: str = "en",
) -> None:
    """Asks language models for the edges of graphs of concepts, and writes how far the answers are from the truth.

    Every answer of a model is kept in ``answers.jsonl`` as it comes, so that a run that was interrupted goes on where
    it was. The results are ``answers.csv``, a row for every graph and model, and ``answers.md``, with the means.

    Args:
        graphs: A JSON list of graphs of concepts; or assertions, a file or folder, in which graphs are grown around
            the sources.
        models: What answers; by default the answers in the file of graphs, of every model there.
        output_dir: Where answers and results are written.
        sources: The words whose graphs are asked for; of a file of graphs all by default.
        width: How many related concepts the prompt says to consider for each, and how many are joined to one in a
            graph that is grown.
        depth: How many steps concepts may be away from the word in a graph that is grown.
        language: The language of the terms of assertions that name one.

    Raises:
        HypergraphError: If a file is missing or bad, or has no such graph or answer.
    """
    if Path(graphs).suffix == ".json":
        truths = _stored_graphs(graphs, sources)
    else:
        truths = _grown_graphs(graphs, sources, width, depth, language)
    folder = Path(output_dir)
    rows = []
    for model in _distinct(models or _stored_models(graphs)):
        for source, truth in truths.items():
            rows.append(_row(model, source, truth, width, folder / "answers.jsonl"))
            print(f"{model.name}, {source}: {rows[-1]['wrong_edges']} wrong edges", flush=True)
    table = pd.DataFrame(rows)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "answers.csv", index=False, float_format="%.5f")
    text = report(table)
    (folder / "answers.md").write_text(text + "\n")
    print(f"\n{text}\n\nresults: {folder}")


def report(table: pd.DataFrame) -> str:
    """Writes the means over graphs by model, and every graph, in Markdown.

    Args:
        table: A row for every model and graph.
    """
    means = table.groupby("model", sort=False)[RATIOS + COUNTS].mean()
    first = [[str(name), *(f"{row[c]:.3f}" for c in RATIOS), *(f"{row[c]:.1f}" for c in COUNTS)]
             for name, row in means.iterrows()]  # fmt: skip
    second = [[row["model"], row["source"], *(f"{row[c]:.3f}" for c in RATIOS), *(str(row[c]) for c in COUNTS)]
              for _, row in table.iterrows()]  # fmt: skip
    header = [name.replace("_", " ") for name in RATIOS + COUNTS]
    return (
        f"Means over {table['source'].nunique()} graphs. Induced and entrywise: the norm of the difference of the "
        "adjacency matrices over that of the true one; an answer without edges has 1 and 1.\n\n"
        f"{markdown(['model', *header], first)}\n\n{markdown(['model', 'graph', *header], second)}"
    )


def _row(
    model: LanguageModel, source: str, truth: Hypergraph, related: int, path: Path
) -> dict[str, str | int | float]:
    """Asks one model for one graph."""
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


def _distinct(models: Sequence[LanguageModel]) -> Sequence[LanguageModel]:
    names = [model.name for model in models]
    if twice := [name for name in names if names.count(name) > 1]:
        raise HypergraphError(f"two models are called '{twice[0]}', which tables cannot tell apart: ask each by itself")
    return models


def _stored_graphs(path: str, sources: Sequence[str] | None) -> Mapping[str, Hypergraph]:
    graphs = {entry.name: entry.graph for entry in read_concept_graphs(path)}
    if unknown := [source for source in sources or [] if source not in graphs]:
        raise HypergraphError(f"'{path}' has no graph of '{unknown[0]}' with edges; it has {list(graphs)}")
    return {source: graphs[source] for source in sources or graphs}


def _grown_graphs(
    path: str, sources: Sequence[str] | None, width: int, depth: int, language: str
) -> Mapping[str, Hypergraph]:
    if not sources:
        raise HypergraphError(
            f"'{path}' holds assertions; name the words to grow graphs around, as in --sources='[dog]'"
        )
    assertions = read_assertions(path, language)
    return {source: grow(assertions, source, width, depth) for source in sources}


def _stored_models(path: str) -> list[StoredAnswers]:
    """Returns the models whose answers a file of graphs holds."""
    entries = read_concept_graphs(path) if Path(path).suffix == ".json" else []
    names = dict.fromkeys(name for entry in entries for name in entry.answers)
    if not names:
        raise HypergraphError(f"'{path}' holds no answers; say who answers, as in --models+=HuggingFaceModel")
    return [StoredAnswers(path, name) for name in names]
