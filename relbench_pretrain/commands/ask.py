"""The command ``ask``: asks language models for the edges of graphs of concepts, and scores their answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from relbench_pretrain.evaluation.tables import markdown
from relbench_pretrain.hypergraph.concepts.graphs import concept_graphs
from relbench_pretrain.hypergraph.concepts.language_model import (
    COUNTS,
    RATIOS,
    LanguageModel,
    StoredAnswers,
    ask_for_graph,
)
from relbench_pretrain.hypergraph.hypergraph import HypergraphError


def ask(
    graphs: str,
    models: list[LanguageModel] | None = None,
    output_dir: str = "runs/ask",
    sources: list[str] | None = None,
    width: int = 2,
    depth: int = 3,
    language: str = "en",
) -> None:
    """Asks language models for the edges of graphs of concepts, and scores their answers against the true edges.

    Every answer of a model is kept in ``answers.jsonl`` as it comes, so that a run that was interrupted goes on where
    it was. The results are ``answers.csv``, a row for every graph and model, ``answers.md``, with the means, and
    ``metrics.json``, with the means as numbers.

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
    truths = concept_graphs(graphs, sources, width, depth, language)
    asked = list(product(_distinct(models or StoredAnswers.of_every_model(graphs)), truths))
    folder = Path(output_dir)
    rows = []
    for number, (model, source) in enumerate(asked, start=1):
        print(f"{number} of {len(asked)}: {model.name}, {source}", end=" … ", flush=True)
        rows.append(ask_for_graph(model, source, truths[source], width, folder / "answers.jsonl"))
        print(f"{rows[-1]['wrong_edges']} wrong edges", flush=True)
    table = pd.DataFrame(rows)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "answers.csv", index=False, float_format="%.5f")
    text = report(table)
    (folder / "answers.md").write_text(text + "\n")
    means = table.groupby("model", sort=False)[RATIOS].mean().to_dict("index")
    metrics = {f"test/{model}/{name}": value for model, row in means.items() for name, value in row.items()}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
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


def _distinct(models: Sequence[LanguageModel]) -> Sequence[LanguageModel]:
    names = [model.name for model in models]
    if twice := [name for name in names if names.count(name) > 1]:
        raise HypergraphError(f"two models are called '{twice[0]}', which tables cannot tell apart: ask each by itself")
    return models
