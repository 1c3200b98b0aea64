"""What runs leave for people who look at them: CSV files, Weights & Biases, TensorBoard."""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pandas as pd
import pytest
import yaml
from jsonargparse import Namespace
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from relbench_pretrain.cli import main
from relbench_pretrain.trainer.loggers import CSVLogger, WandbLogger, name_loggers
from relbench_pretrain.trainer.media import log_artifact, log_image, log_table
from relbench_pretrain.trainer.run_folder import RunError

PRETRAINING = [
    "fit", "--config=contrastive/demo.yaml", "--data.dataset=demo-small", "--trainer.max_steps=1",
    "--trainer.val_check_interval=1", "--trainer.limit_val_batches=1", "--trainer.enable_progress_bar=false",
    "--trainer.logger=logger/wandb.yaml",
]  # fmt: skip


def records(folder: Path) -> list[tuple[str, Any]]:
    """Reads the file that ``wandb sync`` uploads, once the service has written all of it."""
    deadline = time.monotonic() + 20
    while not (found := list(_records(folder))) or "exit" not in {kind for kind, _ in found}:
        assert time.monotonic() < deadline, f"{folder} is not complete: {[kind for kind, _ in found]}"
        time.sleep(0.05)
    return found


def _records(folder: Path) -> Iterator[tuple[str, Any]]:
    """Reads the log format of LevelDB, with a Protobuf message in each record."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, message = next(folder.glob("run-*.wandb")).read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, part = struct.unpack("<IHB", data[place : place + 7])
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # whole, or the last part
            record = Record.FromString(message)
            yield record.WhichOneof("record_type"), record
            message = b""


def artifacts(folder: Path) -> dict[str, set[str]]:
    """The artifacts that an offline run uploads, with all their aliases."""
    found: dict[str, set[str]] = {}
    for kind, record in records(folder):
        if kind == "artifact":
            found.setdefault(record.artifact.type, set()).update(record.artifact.aliases)
    return found


def test_metrics_are_appended_whole_and_cut_where_steps_are_made_again(tmp_path):
    for part in ([(1, {"a": 1.0}), (3, {"a": 2.0})], [(5, {"a": 3.0, "b": 4.0})]):
        logger = CSVLogger(tmp_path, name="run", version="x")
        for step, values in part:
            logger.log_metrics(values, step)
        logger.save()
    path = tmp_path / "run/x/metrics.csv"
    assert pd.read_csv(path).to_dict("list")["step"] == [1, 3, 5]
    path.write_text(path.read_text() + "7.0,")  # killed while it wrote
    logger = CSVLogger(tmp_path, name="run", version="x")
    logger.cut(3)
    logger.log_metrics({"b": 9.0}, 4)
    logger.save()
    rows = pd.read_csv(path)
    assert rows["step"].tolist() == [1, 3, 4] and rows["a"].dropna().tolist() == [1.0, 2.0]
    assert rows["b"].dropna().tolist() == [9.0]


@pytest.fixture
def wandb_unreachable(monkeypatch):
    """Has Weights & Biases look for a server where there is none."""
    import wandb

    wandb.teardown()  # it reads the environment once
    with monkeypatch.context() as patch:
        patch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        patch.setenv("WANDB_API_KEY", "0" * 40)
        patch.setenv("WANDB_SILENT", "true")
        yield
    wandb.teardown()


def test_a_server_that_does_not_answer_is_waited_for_and_done_without(tmp_path, wandb_unreachable):
    import wandb

    logger = WandbLogger(save_dir=str(tmp_path), version="a", init_timeout=1)
    logger.keep_id(tmp_path / "a")
    with pytest.warns(UserWarning, match=r"did not answer within 1 s .* goes on offline"):
        logger.log_metrics({"loss": 1.0}, 0)
    wandb.finish()
    (folder,) = tmp_path.glob(f"wandb/offline-run-*-{(tmp_path / 'a/wandb_id.txt').read_text()}")
    assert "history" in {kind for kind, _ in records(folder)}


def test_a_missing_key_is_said_in_one_line(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setattr(wandb, "init", MagicMock(side_effect=wandb.errors.UsageError("No API key configured.")))
    with pytest.raises(RunError, match="No API key configured. Or set WANDB_MODE=offline"):
        _ = WandbLogger(save_dir=str(tmp_path)).experiment


def test_a_resumed_run_is_one_run_offline_with_configuration_and_weights(run_in, wandb_offline):
    import wandb

    for steps in (1, 2):  # weights are uploaded by the second part alone, where they are asked for
        asked = [] if steps == 1 else ["--trainer.logger.init_args.log_model=true"]
        main([*PRETRAINING, "--run=a", f"--trainer.max_steps={steps}", *asked])
        assert (wandb.run.name, wandb.run.project) == ("a", "relbench-pretrain")
        assert wandb.run.config["data"]["init_args"]["dataset"] == "demo-small"
        assert wandb.run.config["model"]["class_path"] == "lightning_modules.ContrastivePretraining"
        wandb.finish()
    folder = run_in / "runs/relbench-pretrain/a"
    run_id = (folder / "wandb_id.txt").read_text()
    assert len(list((run_in / "runs/wandb").glob(f"offline-run-*-{run_id}"))) == 2
    assert {path.name for path in (run_in / "runs").iterdir()} == {"wandb", "relbench-pretrain"}
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["run"] is None and saved["trainer"]["logger"]["init_args"]["version"] is None
    first, second = (artifacts(offline) for offline in sorted((run_in / "runs/wandb").glob("offline-run-*")))
    assert first == {"config": {"latest"}}
    assert second["config"] == {"latest"} and second["backbone"] == {"latest", "best", "last"}
    assert "latest" in second["model"]


@pytest.fixture
def tensorboard(monkeypatch, tmp_path):
    """A TensorBoard logger whose writer notes what it is given."""
    package = ModuleType("tensorboardX")
    package.SummaryWriter = MagicMock()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", package)
    monkeypatch.setattr("lightning.fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning.fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", True)
    return TensorBoardLogger(str(tmp_path), name="run", version="a")


def test_pictures_and_tables_reach_every_logger_that_can_show_them(tmp_path, tensorboard, wandb_offline):
    import wandb

    wandb_logger = WandbLogger(save_dir=str(tmp_path))
    loggers = [CSVLogger(tmp_path), wandb_logger, tensorboard]
    trainer = SimpleNamespace(loggers=loggers, global_step=3)
    Image.new("RGBA", (5, 4)).save(tmp_path / "picture.png")
    log_image(trainer, "picture", tmp_path / "picture.png")
    table = pd.DataFrame({"when": pd.to_datetime(["2020-01-01"]), "where": [[1, 2]], "score": [0.5]})
    log_table(trainer, "table", table)
    log_artifact(trainer, tmp_path / "picture.png", "picture", ["best"])
    writer = tensorboard.experiment
    (key, pixels, step), options = writer.add_image.call_args
    assert (key, pixels.shape, step, options) == ("picture", (4, 5, 3), 3, {"dataformats": "HWC"})
    assert "| 2020-01-01 00:00:00 | [1, 2] | 0.5 |" in writer.add_text.call_args.args[1]
    files = Path(wandb.run.dir) / "media"
    wandb.finish()
    (offline,) = tmp_path.glob("wandb/offline-run-*")
    assert artifacts(offline)["picture"] == {"best", "latest"}
    (shown,) = files.rglob("*.table.json")
    assert '"data":[["2020-01-01","[1, 2]",0.5]]' in shown.read_text().replace(", [", ",[").replace("], ", "],")
    assert len(list(files.rglob("*.png"))) == 1


def test_lines_that_do_not_fit_the_header_are_left_out(tmp_path):
    logger = CSVLogger(tmp_path, name="run", version="a")
    path = tmp_path / "run" / "a" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("step,train/loss\n0,1.0\n1,2.0,,\n2,3.0\n3")
    logger.log_metrics({"val/loss": 4.0}, step=5)
    logger.save()
    assert path.read_text().splitlines() == ["step,train/loss,val/loss", "0,1.0,", "2,3.0,", "5,,4.0"]


def section(kind: str, **settings) -> Namespace:
    return Namespace(class_path=f"lightning.pytorch.loggers.{kind}", init_args=Namespace(version=None, **settings))


def test_all_loggers_of_a_run_take_its_name_and_one_folder():
    wandb = section("WandbLogger", project="p", save_dir="w", resume=None, name=None)
    loggers = [section("CSVLogger", save_dir=None, name="study"), section("TensorBoardLogger", save_dir="t", name="x")]
    name_loggers([*loggers, wandb], "a", "here")
    assert {s.init_args.version for s in (*loggers, wandb)} == {"a"}
    assert [(s.init_args.save_dir, s.init_args.name) for s in loggers] == [("here", "study")] * 2
    assert wandb.init_args.resume == "allow" and wandb.init_args.save_dir == "w"
    assert loggers[0].class_path == "relbench_pretrain.trainer.CSVLogger"
    first = section("WandbLogger", project="p", save_dir="w", name=None)
    second = section("CSVLogger", save_dir="c", name="x")
    name_loggers([first, second], "a", ".")
    assert Path(second.init_args.save_dir, second.init_args.name) == Path("w/p")
    with pytest.raises(RunError, match="folder"):
        name_loggers(True, "a", ".")
