"""Samples a second trained on: ours under Lightning's Trainer against Hugging Face's Trainer, in turns in one process.

    python benchmarks/masked_modeling.py                 # a head on masked places only; equal batches, nothing merged
    python benchmarks/masked_modeling.py --merge         # equal contexts of a batch are computed once
    python benchmarks/masked_modeling.py --bf16          # both in bfloat16

Both train a BERT of the same size from scratch on the same samples of a random graph, with AdamW at the same rate and
batch. The peer is ``BertForMaskedLM`` with ``DataCollatorForLanguageModeling`` and a masking probability of one half,
which masks one of the two nodes on average. Without dropout merging is exact. Start-up is not timed: of every run the
steps after the first tenth are. Prints one JSON object. Needs ``accelerate`` beside ``transformers``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from measure import memory_of, peak_of_work, report
from tokenizers import Tokenizer, models
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainingArguments,
)
from transformers import Trainer as HuggingFaceTrainer

from datamodules import HypergraphDataModule
from lightning_modules import MaskedModeling
from relbench_pretrain.hypergraph import ConnectedRandomGraph, NodeBert, OneNode

SIZE = {"num_layers": 2, "width": 128, "num_heads": 2, "intermediate": 512}


class Clock:
    """Times the steps after the first tenth."""

    def __init__(self, steps: int) -> None:
        self.first, self.last, self.begin, self.seconds = steps // 10, steps, 0.0, 0.0

    def tick(self, step: int) -> None:
        if step == self.first:
            self.begin = time.perf_counter()
        elif step == self.last:
            self.seconds = time.perf_counter() - self.begin

    @property
    def steps(self) -> int:
        return self.last - self.first


class LightningClock(Callback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.clock.tick(trainer.global_step)


class HuggingFaceClock(TrainerCallback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.tick(state.global_step)


class Sequences(Dataset):
    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[place]}


def ours(args: argparse.Namespace) -> float:
    torch.manual_seed(0)
    data = HypergraphDataModule(
        ConnectedRandomGraph(args.nodes), args.samples, masking=OneNode(), batch_size=args.batch, merge=args.merge,
        keep_order=True,
    )  # fmt: skip
    module = MaskedModeling(NodeBert(**SIZE, dropout=0.0), partial(torch.optim.AdamW, lr=1e-3))
    clock = Clock(args.steps)
    trainer = Trainer(
        max_steps=args.steps, limit_val_batches=0, logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, callbacks=[LightningClock(clock)],
        gradient_clip_val=1.0, precision="bf16-mixed" if args.bf16 else "32-true",
    )  # fmt: skip
    trainer.fit(module, data)
    return clock.steps * args.batch / clock.seconds


def peer(args: argparse.Namespace) -> float:
    torch.manual_seed(0)
    data = HypergraphDataModule(ConnectedRandomGraph(args.nodes), args.samples)
    data.setup("fit")
    rows = torch.from_numpy(data.rows[: data.num_training]).long()
    special = {name: args.nodes + i for i, name in enumerate(("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"))}
    ends = [torch.full((len(rows), 1), special[name]) for name in ("[CLS]", "[SEP]")]
    vocabulary = {str(i): i for i in range(args.nodes)} | special
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")), pad_token="[PAD]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", unk_token="[UNK]",
    )  # fmt: skip
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=SIZE["width"], num_hidden_layers=SIZE["num_layers"],
        num_attention_heads=SIZE["num_heads"], intermediate_size=SIZE["intermediate"], hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, max_position_embeddings=8, type_vocab_size=1, pad_token_id=special["[PAD]"],
    )  # fmt: skip
    clock = Clock(args.steps)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder, max_steps=args.steps, per_device_train_batch_size=args.batch, learning_rate=1e-3,
            lr_scheduler_type="constant", report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
            use_cpu=True, bf16=args.bf16,
        )  # fmt: skip
        HuggingFaceTrainer(
            BertForMaskedLM(config), settings,
            train_dataset=Sequences(torch.cat([ends[0], rows, ends[1]], dim=1)),
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5),
            callbacks=[HuggingFaceClock(clock)],
        ).train()  # fmt: skip
    return clock.steps * args.batch / clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--memory", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    sides: dict[str, Callable[[argparse.Namespace], float]] = {"ours": ours, "peer": peer}
    if args.memory:
        print(peak_of_work(lambda: sides[args.memory](args), 1))
        return
    for side in sides.values():  # not timed
        side(args)
    speeds = [(ours(args), peer(args)) for _ in range(args.rounds)]
    ratios = sorted(a / b for a, b in speeds)
    report(
        benchmark="masked_modeling",
        unit="samples/s",
        network=f"BERT, {SIZE['num_layers']} x {SIZE['width']}, {args.nodes} nodes",
        precision="bf16" if args.bf16 else "float32",
        merge=args.merge,
        batch=args.batch,
        threads=torch.get_num_threads(),
        ours=sorted(a for a, _ in speeds)[len(speeds) // 2],
        peer=sorted(b for _, b in speeds)[len(speeds) // 2],
        ratio=ratios[len(ratios) // 2],
        spread=[ratios[0], ratios[-1]],
        memory_mb={side: memory_of(side) for side in sides},
    )


if __name__ == "__main__":
    main()
