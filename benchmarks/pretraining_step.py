"""Full pretraining steps a second: sampling, corruption, both views, three losses, backward, Adam.

Ours is ContrastivePretraining as shipped (ResNet, 2-layer GraphSAGE, 128 wide, fused Adam). The peer does the same with
HGTLoader, RelBench's HeteroEncoder and HeteroGraphSAGE run twice, dense losses and Adam as it comes; the corruption is
ours on both sides. HGTLoader needs torch-sparse:

    pip install ../shared/peers/*.whl
    python benchmarks/pretraining_step.py ../shared/data/rel-f1
    python benchmarks/pretraining_step.py ../shared/data/rel-f1 --bf16
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measure import alternate, memory_of, peak_of_work, report, training_step
from peers import DensePretraining, hgt_loader, pretraining_seeds, visible_graph

from datamodules.contrastive import CorruptedView
from lightning_modules import ContrastivePretraining
from relbench_pretrain.contrastive import ContextContrast, LinkContrast, RowContrast
from relbench_pretrain.nn import Backbone, GraphSAGE, ResNetTableEncoder
from relbench_pretrain.sampling import HGSampler, RelationalLoader


def step(side: str, dataset: str, seed_table: str, bf16: bool) -> Callable[[], float]:
    """Returns a function that makes one step of one side."""
    torch.manual_seed(0)
    module, rows, seeds = pretraining_seeds(dataset, seed_table)
    graph, until = module.graph, module.val_time
    if side == "peer":
        network = DensePretraining(graph.schema)
        view = CorruptedView(module.corruption)

        def corrupt(batch):
            batch.random_seed = int(torch.randint(2**31, ()))
            return view(batch)

        loader = hgt_loader(visible_graph(graph, rows), seed_table, seeds, corrupt)
        loss_of = network
    else:
        network = ContrastivePretraining(
            Backbone(ResNetTableEncoder(), GraphSAGE()), RowContrast(), LinkContrast(), ContextContrast()
        )
        network.schema = graph.schema
        network.configure_model()
        loader = RelationalLoader(
            graph, HGSampler(module.index, 64, 3), (seed_table, seeds), torch.full_like(seeds, until),
            transform=module.view, batch_size=64,
        )  # fmt: skip

        def loss_of(batch):
            return sum(network.normalization(network.losses(batch, network(batch))).values())

    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=side == "ours")  # as the shipped configs do
    return training_step(loss_of, optimizer, loader, bf16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="../shared/data/rel-f1")
    parser.add_argument("--seed-table", default="results")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeat", type=int, default=8)
    parser.add_argument("--memory", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        one = step(args.memory, args.dataset, args.seed_table, args.bf16)
        print(peak_of_work(one, args.repeat))
        return
    ours, peer = (step(side, args.dataset, args.seed_table, args.bf16) for side in ("ours", "peer"))
    print(f"first losses: ours {ours():.3f}, peer {peer():.3f}")
    report(
        benchmark="pretraining_step",
        unit="steps/s",
        dataset=args.dataset,
        precision="bf16" if args.bf16 else "float32",
        threads=torch.get_num_threads(),
        **alternate(ours, peer, args.rounds, args.repeat),
        memory_mb={side: memory_of(side) for side in ("ours", "peer")},
    )


if __name__ == "__main__":
    main()
