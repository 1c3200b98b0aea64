"""Small databases that have a bit of everything, two concept graphs and a tiny language model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import relbench
from relbench.base import Database, Table
from relbench.manifest import DatasetManifest, TableSpec

from relbench_pretrain.datasets.shop.database import write_demo_database

NOTES = [
    "a red chair for the garden",
    "two blue lamps with long cables",
    "an old table made of oak",
    "it came broken on monday",
]


def draw_database(num_rows: int = 40, seed: int = 0) -> Database:
    """Tables called like methods of a dictionary, one without features, one without rows, and every column type.

    The rows before the last are the same for any larger number of rows.
    """
    items = pd.DataFrame({"id": range(5), "colour": list("rgrrg"), "price": [1.0, 2.5, np.nan, 4.0, np.inf]})
    drawn = []
    for row in range(num_rows):
        rng = np.random.default_rng([seed, row])
        tags = [["a", "b", "b"], ["c"], [], None][rng.integers(4)]
        drawn.append(
            {
                "id": row,
                "item": [0, 1, 4, 99, None][rng.integers(5)],  # 99 dangles
                "other": int(rng.integers(5)),
                "boss": int(rng.integers(row)) if row else None,
                "time": pd.Timestamp("2020-01-01") + pd.Timedelta(hours=7 * row),
                "due": [pd.Timestamp(f"{2010 + row // 4}-05-06 07:08:09"), None][rng.integers(2)],
                "amount": rng.normal(),
                "kind": "xyz"[rng.integers(3)],
                "type_id": int(rng.integers(3)),
                "paid": int(rng.integers(100)),
                "late": bool(rng.integers(2)),
                "tags": tags,
                "note": " ".join([str(row), *rng.choice(NOTES, 2)]) if row % 5 else None,
                "vector": rng.normal(size=3).astype(np.float32) if row % 7 else None,
            }
        )
    events = pd.DataFrame(drawn).astype({"item": "Int64", "boss": "Int64", "time": "datetime64[us]"})
    empty = pd.DataFrame({name: pd.Series([], dtype=object) for name in ("time", "event", "words", "level")})
    return Database(
        {
            "items": Table(items, {}, "id"),
            "keys": Table(pd.DataFrame({"event": range(0, num_rows, 2)}), {"event": "events"}),
            "events": Table(events, {"item": "items", "other": "items", "boss": "events"}, "id", "time"),
            "values": Table(empty, {"event": "events"}, None, "time"),
        }
    )


def write_folder(db: Database, folder: Path, val: str = "2020-01-05", test: str = "2020-01-09") -> Path:
    """Writes a database as a RelBench folder without tasks."""
    (folder / "db").mkdir(parents=True, exist_ok=True)
    specs = {}
    for name, table in db.table_dict.items():
        table.df.to_parquet(folder / "db" / f"{name}.parquet")
        specs[name] = TableSpec(table.pkey_col, table.time_col, table.fkey_col_to_pkey_table)
    DatasetManifest("small", val, test, tables=specs).save(folder / "manifest.yaml")
    return folder


def run_python(code: str) -> str:
    """Runs code in another process, in which strings have other hashes, and returns what it prints."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def make_database() -> Callable[..., Database]:
    return draw_database


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    return write_folder


@pytest.fixture(scope="session")
def in_other_process() -> Callable[..., str]:
    return run_python


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_database(tmp_path_factory.mktemp("shop") / "demo", 3_000, seed=1)


@pytest.fixture(scope="session")
def shared_database() -> Callable[[str], relbench.load.RelBenchDataset]:
    """Opens a real dataset beside the project, or skips the test."""

    def open_shared(name: str) -> relbench.load.RelBenchDataset:
        folder = Path(__file__).resolve().parents[3] / "shared" / "data" / name
        if not (folder / "manifest.yaml").is_file():
            pytest.skip(f"{name} is not there")
        return relbench.load_dataset(folder)

    return open_shared


CAKE = {
    "source": "cake",
    "concepts": ["cake", "birthday", "dessert", "party"],
    "edges": [[0, 1], [0, 2], [1, 3]],
    "answers": {"first": [[0, 1], [2, 3]], "second": [[0, 1], [2, 0], [1, 3]]},
}
ZOO = {
    "source": "zoo",
    "concepts": ["zoo", "animal", "yo-yo"],
    "edges": [[0, 1], [1, 2]],
    "answers": {"first": [], "second": [[0, 2]]},
}


@pytest.fixture
def concept_graphs(tmp_path) -> Path:
    path = tmp_path / "graphs.json"
    path.write_text(json.dumps([CAKE, ZOO]))
    return path


@pytest.fixture(scope="session")
def tiny_language_model(tmp_path_factory) -> Path:
    """A GPT-2 of a few random weights that knows words, in a folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(["cake birthday dessert party zoo animal - , ( )"],
                              trainers.WordLevelTrainer(special_tokens=["[UNK]", "[EOS]"]))  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[EOS]", pad_token="[EOS]")
    torch.manual_seed(0)
    network = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(words.get_vocab()), n_positions=256, n_embd=8, n_layer=1, n_head=1,
                   bos_token_id=1, eos_token_id=1, pad_token_id=1)
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer.save_pretrained(folder)
    network.save_pretrained(folder)
    return folder
