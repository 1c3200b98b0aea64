"""Hyperedges sampled a second: the alias table against NumPy's ``choice``, in turns in one process.

    python benchmarks/corpus.py --nodes 1000 --samples 2000000

Both sample hyperedges by weight from the same generator. ``--rows`` samples whole corpora, whose rows have their
nodes in random order, against ``choice`` with the same shuffling. Prints one JSON object.
"""

from __future__ import annotations

import argparse

import numpy as np
from measure import alternate, memory_of, peak_of_work, report

from relbench_pretrain.hypergraph import ConnectedRandomGraph, IndependentSampling
from relbench_pretrain.hypergraph.corpus.corpus import Corpus
from relbench_pretrain.hypergraph.corpus.sampling import AliasTable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=2_000_000)
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    graph = ConnectedRandomGraph(args.nodes).make()
    rng, table = np.random.default_rng(0), AliasTable(graph.weights)
    corpus = Corpus(graph, IndependentSampling(), args.samples, 0)

    def choose() -> np.ndarray:
        chosen = rng.choice(graph.num_edges, args.samples, p=graph.weights)
        return rng.permuted(graph.edges[chosen], axis=1) if args.rows else chosen

    sides = {"ours": corpus.rows if args.rows else lambda: table.sample(args.samples, rng), "peer": choose}
    if args.memory:
        sides[args.memory]()
        print(peak_of_work(sides[args.memory], 1))
        return
    result = alternate(sides["ours"], sides["peer"], args.rounds, 1)
    report(
        benchmark="corpus",
        unit="samples/s",
        graph=f"{graph.num_nodes} nodes, {graph.num_edges} edges",
        rows=args.rows,
        **{**result, "ours": result["ours"] * args.samples, "peer": result["peer"] * args.samples},
        memory_mb={side: memory_of(side) for side in ("ours", "peer")},
    )


if __name__ == "__main__":
    main()
