"""The command on hypergraphs, pairs and folders of runs, as its files and what it prints say."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest

from relbench_pretrain.cli import main
from relbench_pretrain.hypergraph import Chain, ConnectedRandomGraph, Hypergraph
from relbench_pretrain.hypergraph.alignment.accuracy import score
from relbench_pretrain.hypergraph.conversion import write_hypergraph

TRUTH = ConnectedRandomGraph(30).make()
FEW = ["--matcher=FAQ", "--matcher.restarts=2"]


def seen(name: str, truth: Hypergraph = TRUTH) -> tuple[Hypergraph, list[int]]:
    """A hypergraph in another order under other names, and which node each of them is in truth."""
    order = np.random.default_rng(ord(name)).permutation(truth.num_nodes)
    return truth.renamed(order, [f"{name}{i}" for i in range(truth.num_nodes)]), order.tolist()


@pytest.fixture
def runs(run_in):
    """Two folders of runs, of which one's newest version is right."""
    for name in "ab":
        graph, order = seen(name)
        folder = run_in / name / "fit" / "version_1"
        folder.mkdir(parents=True)
        counts = np.random.default_rng(ord(name)).multinomial(3_000, graph.weights).astype(np.float64)
        write_hypergraph(graph.with_weights(counts), folder / "recovered.json")
        write_hypergraph(graph.renamed(np.arange(30)[::-1]), run_in / name / "truth.json")  # another order
        (folder / "names.json").write_text(json.dumps({f"{name}{i}": f"entity {k}" for i, k in enumerate(order)}))
    older = run_in / "a" / "fit" / "version_0"
    older.mkdir()
    write_hypergraph(Chain(5).make(), older / "recovered.json")
    os.utime(older / "recovered.json", (0, 0))
    return run_in


def test_folders_of_runs_are_aligned_and_scored_without_another_file(runs, capsys):
    main(["align", "a", "b", "--output_dir=out/put", "--shares=[0, 0.01, 0.1]", *FEW])
    printed = capsys.readouterr().out
    assert "a/fit/version_1/recovered.json: 30 nodes" in printed
    metrics = json.loads((runs / "out/put/metrics.json").read_text())
    for share, pairs in (("0", 0), ("0.01", 1), ("0.1", 3)):
        assert metrics[f"test/pairs_{share}/accuracy"] == metrics[f"test/pairs_{share}/accuracy_at_most"] == 1
        assert metrics[f"test/pairs_{share}/accuracy_unlabelled"] == 1
        assert metrics[f"test/pairs_{share}/pairs"] == pairs
        assert metrics[f"test/pairs_{share}/automorphisms"] == "asymmetric"
        assert 0 < metrics[f"test/pairs_{share}/dissimilarity"] < 0.3
    table = pd.read_csv(runs / "out/put/alignment.tsv", sep="\t")
    entity = {name: dict(zip(*[seen(name)[i] if i else seen(name)[0].nodes for i in (0, 1)])) for name in "ab"}  # noqa: B905
    assert list(table.columns) == ["first", "second", "cost", "margin", "known"]
    assert table["first"].map(entity["a"]).tolist() == table["second"].map(entity["b"]).tolist()
    assert table["cost"].between(0, 0.5).all()
    assert (table["margin"] > 0).all()
    assert not table["known"].any()
    main(["align", "a", "b", "--pairs=out/put/alignment.tsv", "--matcher=Spectral", "--shares=[0]"])
    assert "| 0 | 1.000 | 1.000 | 1.000 | asymmetric | 30 |" in capsys.readouterr().out


def test_files_are_aligned_with_known_pairs_and_scored_by_files(run_in, capsys):
    chain = Chain(6).make()
    for name in "ab":
        write_hypergraph(seen(name, chain)[0], run_in / f"{name}.parquet")
    node = {name: [seen(name, chain)[1].index(k) for k in range(6)] for name in "ab"}
    true = "".join(f"a{i},b{j}\n" for i, j in zip(node["a"], node["b"], strict=True))
    (run_in / "true.csv").write_text("first,second\n" + true)
    (run_in / "turned.tsv").write_text(f"a{node['a'][0]}\tb{node['b'][5]}\n")
    write_hypergraph(seen("a", chain)[0], run_in / "hypergraph.json")
    command = ["align", "a.parquet", "b.parquet", "--pairs=turned.tsv", "--output_dir=."]
    main(command)
    metrics = json.loads((run_in / "metrics.json").read_text())
    assert (metrics["test/pairs_0/pairs"], metrics["test/pairs_0/dissimilarity"]) == (1, 0)
    assert set(metrics) == {f"test/pairs_0/{key}" for key in ("pairs", "dissimilarity", "seconds")}
    order, pairs = np.empty(6, dtype=np.int64), np.stack([node["a"], node["b"]], axis=1)
    order[node["a"]] = node["b"][::-1]
    found = score(order, pairs[:0], pairs, seen("a", chain)[0])
    assert (found["accuracy"], found["automorphisms"]) == (1, "exact")
    plain = score(order, pairs[:0], pairs, None)
    assert (plain["accuracy"], plain["automorphisms"]) == (0, "unknown")
    # A chain turned round is right, unless a known pair says which end is which.
    main([*command, "--truth=true.csv", "--truth_hypergraph=hypergraph.json", "--shares=[0]"])
    assert json.loads((run_in / "metrics.json").read_text())["test/pairs_0/accuracy"] == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a", "nothing.json"], "no file 'nothing.json'"),
        (["a", "empty"], "no 'recovered.json' in 'empty'"),
        (["a", "b", "--pairs=nothing.tsv"], "no file 'nothing.tsv' of pairs"),
        (["a", "b", "--pairs=swapped.tsv"], "line 2: the first hypergraph has no node 'b1'"),
        (["a", "b", "--pairs=lone.csv"], "line 1: 'a1' has no partner; give two names, apart by a comma"),
        (["a", "b", "--truth=twice.tsv"], "pairs 'b1' more than once"),
        (["a", "b", "--shares=[2]"], "from 0 to 1, not [2.0]"),
        (["a", "b", "--truth_hypergraph=b/truth.json"], "only one of them has 'a0'"),
        (["a", "other"], "no node of 'a/fit/version_1/recovered.json' is in truth"),
        (["a", "wrong"], "names node 'c99', which the hypergraph does not have"),
    ],
)
def test_what_is_wrong_is_named(runs, capsys, args, message):
    (runs / "empty").mkdir()
    (runs / "swapped.tsv").write_text("a1\tb1\nb1\ta1\n")
    (runs / "lone.csv").write_text("a1\n")
    (runs / "twice.tsv").write_text("a1\tb1\na2\tb1\n")
    for name, node in (("other", "c1"), ("wrong", "c99")):
        (runs / name).mkdir()
        write_hypergraph(seen("c")[0], runs / name / "recovered.json")
        (runs / name / "names.json").write_text(json.dumps({node: "someone else"}))
    with pytest.raises(SystemExit):
        main(["align", *args])
    assert message in capsys.readouterr().err
