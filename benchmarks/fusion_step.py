"""Fusion training steps a second of MRE: ours against the same step written plainly.

Both train the same network on the same triples. Ours encodes visible patches and words alone, draws all neighbours at
once, takes of them what was last made of them, and encodes each entity of a batch once. The plain one encodes every
patch and word and masks afterwards, fetches neighbours one by one, and encodes an entity as often as it comes:

    python benchmarks/fusion_step.py
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from measure import alternate, memory_of, peak_of_work, report
from torch import Tensor

from datamodules import MultimodalKGDataModule
from lightning_modules import RelationExtrapolation
from relbench_pretrain.knowledge_graph.mre import M3AE, GraphWords, MultimodalTraining, StructureConsolidator
from relbench_pretrain.knowledge_graph.mre.batches import FusionBatch
from relbench_pretrain.knowledge_graph.mre.consolidator import KnownTriples, structure_loss
from relbench_pretrain.knowledge_graph.mre.m3ae import symmetric_infonce
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInput
from relbench_pretrain.knowledge_graph.mre.tables import encode_entities


class Plain(RelationExtrapolation):
    """The same network with a step that does one thing after the other."""

    def fusion_losses(self, batch: FusionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        data, rng = self.source, np.random.default_rng(batch.seed)
        graph, inputs = data.training_neighborhood, data.inputs
        number = batch.around.number[batch.triple.T.flatten()]  # heads and tails as they come
        nodes, source, target, kind = number.tolist(), [], [], []
        for row, entity in enumerate(number.tolist()):
            begin, end = graph.indptr[entity], graph.indptr[entity + 1]
            for edge in rng.choice(np.arange(begin, end), min(4, end - begin), replace=False):
                source.append(len(nodes))
                target.append(row)
                kind.append((graph.relation[edge] + graph.num_relations) % (2 * graph.num_relations))
                nodes.append(int(graph.neighbor[edge]))
        single = [inputs.of_entities(torch.tensor([node])) for node in nodes]
        longest = max(one["text"].values.size(1) for one in single)
        pad = torch.nn.functional.pad
        said = {
            "image": ModalityInput(*(torch.cat([one["image"][i] for one in single]) for i in (0, 1))),
            "text": ModalityInput(
                torch.cat([pad(one["text"].values, (0, longest - one["text"].values.size(1))) for one in single]),
                torch.cat([one["text"].present for one in single]),
            ),
        }
        edges = torch.tensor([source, target])
        entity = self.consolidator(self.learner.encode(said, len(nodes)), edges, torch.tensor(kind), len(number))
        relation = self.consolidator.relations(self.learner.encode_relations(batch.relation_inputs))
        losses = self.masked_afterwards(
            {n: ModalityInput(*(t[: len(number)] for t in part)) for n, part in said.items()}
        )
        triple = torch.arange(len(number)).view(-1, 2).T
        rows = batch.relation_row
        losses["structure"] = structure_loss(
            self.score, self.known, entity, number, triple, relation[rows], batch.relation[rows]
        )
        return losses

    def masked_afterwards(self, said: dict[str, ModalityInput]) -> dict[str, Tensor]:
        """Encodes all tokens, and masks what comes out of the encoder."""
        learner: M3AE = self.learner  # type: ignore[assignment]
        tokens, pieces, occupied = [learner.cls.expand(len(said["image"].values), 1, -1)], {}, {}
        for name, (values, present) in said.items():
            modality = learner.modalities[name]
            pieces[name] = modality.cut(values)
            occupied[name] = modality.occupied(pieces[name], present)
            tokens.append(modality.tokens(pieces[name]))
        padding = torch.cat([torch.zeros(len(tokens[0]), 1, dtype=torch.bool), *(~o for o in occupied.values())], dim=1)
        encoded = learner.encoder(torch.cat(tokens, dim=1), src_key_padding_mask=padding)
        cls, *parts = encoded.split([1, *(o.size(1) for o in occupied.values())], dim=1)
        kept = {name: learner._mask(o, None) for name, o in occupied.items()}
        whole, means = [learner.to_decoder(cls)], []
        for part, (name, visible) in zip(parts, kept.items(), strict=True):
            modality, stays = learner.modalities[name], (occupied[name] & ~visible.masked).unsqueeze(2)
            token = torch.where(stays, learner.to_decoder(part), learner.mask)
            whole.append(token + modality.decoder_position[: token.size(1)] + modality.decoder_kind)
            means.append((part * stays).sum(1) / stays.sum(1).clamp(min=1))
        decoded = learner.decoder(torch.cat(whole, dim=1), src_key_padding_mask=padding)
        parts = decoded.split([part.size(1) for part in whole], dim=1)[1:]
        losses = {}
        for part, (name, visible) in zip(parts, kept.items(), strict=True):
            loss = learner.modalities[name].loss(part, pieces[name])
            losses[name] = (loss * visible.masked).sum() / visible.masked.sum().clamp(min=1)
        both = said["image"].present & said["text"].present
        losses["contrast"] = symmetric_infonce(means[0], means[1], both, learner.temperature)
        return losses


def build(kind: type[RelationExtrapolation], data: MultimodalKGDataModule, args: argparse.Namespace):
    torch.manual_seed(0)
    learner = M3AE(args.width, args.depth, 4, args.width, max(1, args.depth // 2), 4, patch=args.patch)
    module = kind(learner, StructureConsolidator(args.width, 8))
    module._take_graph(data.inputs.specs, (data.graph.num_entities, data.graph.num_relations))
    module.configure_model()
    module.known = KnownTriples(torch.from_numpy(data.seen_triples), *module.sizes)
    module.source = data
    module.history.copy_(encode_entities(module.learner, data.inputs, module.sizes[0], torch.device("cpu")))
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    batches = data.training_batches()[0]

    def step(number: int) -> None:
        losses = module.fusion_losses(batches[0, number], torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        torch.stack([module.weights[name] * value for name, value in losses.items()]).sum().backward()
        optimizer.step()

    return lambda: [step(number) for number in range(args.steps)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triples", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    training = MultimodalTraining(
        1, 0, 0, triples_per_batch=args.triples, image_size=args.image, tokenizer=GraphWords(24)
    )
    data = MultimodalKGDataModule("demo", training=training)
    data.setup("fit")
    sides = {"ours": build(RelationExtrapolation, data, args), "peer": build(Plain, data, args)}
    if args.memory:
        print(peak_of_work(sides[args.memory], 1))
        return
    result = alternate(sides["ours"], sides["peer"], args.rounds, 1)
    report(
        benchmark="fusion_step",
        unit="steps/s",
        dataset="demo",
        threads=torch.get_num_threads(),
        triples=args.triples,
        network=f"{args.depth} x {args.width}, {(args.image // args.patch) ** 2} patches",
        **{**result, "ours": result["ours"] * args.steps, "peer": result["peer"] * args.steps},
        memory_mb={side: memory_of(side) for side in ("ours", "peer")},
    )


if __name__ == "__main__":
    main()
