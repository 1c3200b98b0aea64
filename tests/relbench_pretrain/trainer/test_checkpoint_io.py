"""Checkpoints are there whole or not at all."""

from __future__ import annotations

import os

import pytest
import torch

from relbench_pretrain.pretrained import CheckpointError
from relbench_pretrain.trainer.checkpoint_io import AtomicCheckpointIO, complete_checkpoint, newest_checkpoint


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1, "x": torch.arange(5)}, path)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_leaves_the_checkpoint_before(written, monkeypatch):
    def full(checkpoint, file):
        with open("/dev/full", "wb") as disk:
            disk.write(bytes(100_000))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"last.ckpt' cannot be written .*No space left.*make room"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, written)
    assert names(written.parent) == ["last.ckpt"]
    assert AtomicCheckpointIO().load_checkpoint(written, weights_only=True)["step"] == 1


def test_a_write_that_is_interrupted_leaves_the_checkpoint_before(written, monkeypatch):
    def interrupted(checkpoint, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, written)
    monkeypatch.undo()
    assert names(written.parent) == ["last.ckpt"]
    assert AtomicCheckpointIO().load_checkpoint(written, weights_only=True)["step"] == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file/last.ckpt' cannot be written"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "file" / "last.ckpt")


@pytest.mark.parametrize("rest", [0, 1, 100])
def test_a_checkpoint_that_was_cut_off_is_named_and_the_one_before_taken(written, rest):
    cut = written.with_name("cut.ckpt")
    cut.write_bytes(written.read_bytes()[: -rest or 0] if rest else b"")
    with pytest.warns(UserWarning, match=r"cut.ckpt' is cut off; '.*last.ckpt' is taken"):
        assert AtomicCheckpointIO().load_checkpoint(cut, weights_only=True)["step"] == 1
    written.unlink()
    with (
        pytest.raises(CheckpointError, match="cut.ckpt' is cut off, and there is no other"),
        pytest.warns(match="left out"),
    ):
        complete_checkpoint(cut)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint '.*none.ckpt'"):
        complete_checkpoint(tmp_path / "none.ckpt")


def test_the_newest_checkpoint_is_the_one_written_last(tmp_path):
    assert newest_checkpoint([]) is None
    files = [tmp_path / name for name in ("last.ckpt", "best.ckpt", "hpc_ckpt_1.ckpt", "epoch=9.ckpt")]
    for time, file in enumerate(files):
        torch.save({}, file)
        os.utime(file, (time, time))
        assert newest_checkpoint(files[: time + 1]) == file
    files[3].write_bytes(files[3].read_bytes()[:-30])
    with pytest.warns(UserWarning, match="epoch=9.ckpt' is cut off"):
        assert newest_checkpoint(files) == files[2]
