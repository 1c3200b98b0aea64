"""Triples ranked a second over all entities, filtered: ours against PyKEEN's evaluator, both given the same scores.

Each side ranks the tails of the test triples batch by batch, from one matrix of scores that both copy where a model
would compute them; known answers are looked up within the time of both. PyKEEN runs at its best batch size here:

    pip install pykeen
    python benchmarks/ranking.py ../shared/data/kg/fb15k237-zs
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import torch
from measure import alternate, memory_of, peak_of_work, report

from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, Role
from relbench_pretrain.knowledge_graph.data.queries import Queries
from relbench_pretrain.knowledge_graph.ranking import RankingMetrics, realistic_ranks


def ours(graph: KnowledgeGraph, triples: torch.Tensor, scores: torch.Tensor, size: int) -> dict[str, float]:
    queries, metrics = Queries.of_triples(graph, triples.numpy()), RankingMetrics()
    for start in range(0, len(queries), size):
        stop = min(start + size, len(queries))
        batch = scores[: stop - start].clone()
        metrics.update(realistic_ranks(batch, queries.answer[start:stop], queries.known_of(start, stop)))
    return {name: float(value) for name, value in metrics.compute().items()}


def peer(everything: torch.Tensor, triples: torch.Tensor, scores: torch.Tensor, size: int) -> dict[str, float]:
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.evaluation.evaluator import _evaluate_batch

    evaluator = RankBasedEvaluator(filtered=True)
    model = SimpleNamespace(predict=lambda hrt_batch, **_: scores[: len(hrt_batch)].clone())
    for batch in triples.split(size):
        _evaluate_batch(batch, model, "tail", evaluator, None, everything, None, None, mode=None)
    found = evaluator.finalize()
    return {
        "mrr": found.get_metric("tail.realistic.inverse_harmonic_mean_rank"),
        "hits@10": found.get_metric("hits@10"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="../shared/data/kg/fb15k237-zs")
    parser.add_argument("--triples", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    graph = read_knowledge_graph(args.folder)
    generator = torch.Generator().manual_seed(0)
    test = torch.from_numpy(graph.triples_of(Role.UNSEEN))
    triples = test[torch.randperm(len(test), generator=generator)[: args.triples]]
    scores = torch.rand(args.batch_size, graph.num_entities, generator=generator)
    everything = torch.from_numpy(graph.triples).unique(dim=0)
    sides = {
        "ours": lambda: ours(graph, triples, scores, args.batch_size),
        "peer": lambda: peer(everything, triples, scores, args.batch_size),
    }
    if args.memory:
        print(peak_of_work(sides[args.memory], 2))
        return
    mine, theirs = sides["ours"](), sides["peer"]()
    if abs(mine["mrr"] - theirs["mrr"]) > 1e-6:
        raise SystemExit(f"the two sides rank differently: {mine} and {theirs}")
    result = alternate(sides["ours"], sides["peer"], args.rounds, 1)
    report(
        benchmark="ranking",
        unit="triples/s",
        dataset=args.folder,
        threads=torch.get_num_threads(),
        batch_size=args.batch_size,
        entities=graph.num_entities,
        **{**result, "ours": result["ours"] * len(triples), "peer": result["peer"] * len(triples)},
        memory_mb={side: memory_of(side) for side in ("ours", "peer")},
    )


if __name__ == "__main__":
    main()
