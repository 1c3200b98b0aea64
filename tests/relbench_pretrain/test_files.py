"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os
import time

import pytest

from relbench_pretrain.files import ABANDONED_SECONDS, atomic_file, atomic_folder, remove_abandoned


@pytest.fixture(autouse=True)
def usual_permissions():
    before = os.umask(0o022)
    yield
    os.umask(before)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return path.stat().st_mode & 0o777


def write(path, text, error=None):
    with atomic_file(path) as part:
        part.write_text(text)
        if error is not None:
            raise error


class TestFile:
    def test_is_seen_only_when_complete(self, tmp_path):
        path = tmp_path / "deep" / "file.json"
        with atomic_file(path) as part:
            part.write_text("half")
            assert not path.exists() and part.parent == path.parent
            part.write_text("whole")
        assert path.read_text() == "whole" and names(path.parent) == ["file.json"]

    @pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
    @pytest.mark.parametrize("before", [False, True])
    def test_a_failure_leaves_what_was_there(self, tmp_path, before, error):
        path = tmp_path / "file"
        if before:
            path.write_text("old")
        with pytest.raises(error):
            write(path, "half", error)
        assert names(tmp_path) == (["file"] if before else [])
        assert not before or path.read_text() == "old"

    def test_two_at_once_write_files_of_their_own(self, tmp_path):
        with atomic_file(tmp_path / "file") as first, atomic_file(tmp_path / "file") as second:
            first.write_text("first")
            second.write_text("second")
        assert (tmp_path / "file").read_text() == "first"  # the last to finish
        assert names(tmp_path) == ["file"]

    def test_links_are_replaced_and_not_followed(self, tmp_path):
        (tmp_path / "mine").write_text("mine")
        (tmp_path / "mine").chmod(0o600)
        (tmp_path / "file").symlink_to(tmp_path / "mine")
        write(tmp_path / "file", "new")
        assert (tmp_path / "mine").read_text() == "mine"
        assert not (tmp_path / "file").is_symlink() and mode(tmp_path / "file") == 0o644

    def test_permissions_are_those_of_a_new_file_or_of_the_one_before(self, tmp_path):
        path = tmp_path / "file"
        with atomic_file(path) as part:
            part.chmod(0o600)  # as safetensors does
        assert mode(path) == 0o644
        path.chmod(0o640)
        write(path, "again")
        assert mode(path) == 0o640


class TestFolder:
    def test_is_seen_only_when_complete(self, tmp_path):
        path = tmp_path / "deep" / "folder"
        with atomic_folder(path) as part:
            (part / "in").mkdir()
            (part / "in" / "file").touch(0o600)
            assert not path.exists() and part.parent == path.parent
        assert names(path.parent) == ["folder"] and names(path / "in") == ["file"]
        assert (mode(path), mode(path / "in" / "file")) == (0o755, 0o644)

    @pytest.mark.parametrize("replace", [False, True])
    def test_one_that_is_there_stays_or_is_replaced(self, tmp_path, replace):
        with atomic_folder(tmp_path / "folder", replace) as part:
            (part / "new").touch()
            (tmp_path / "folder").mkdir()
            (tmp_path / "folder" / "old").touch()
        assert names(tmp_path) == ["folder"]
        assert names(tmp_path / "folder") == ["new" if replace else "old"]

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_failure_leaves_what_was_there(self, tmp_path, replace):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "old").touch()
        with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "folder", replace):
            raise KeyboardInterrupt
        assert names(tmp_path) == ["folder"] and names(tmp_path / "folder") == ["old"]

    def test_a_file_in_its_place_is_an_error(self, tmp_path):
        with pytest.raises(OSError, match="folder"), atomic_folder(tmp_path / "folder"):
            (tmp_path / "folder").touch()
        assert names(tmp_path) == ["folder"]


def test_what_killed_processes_left_is_removed_a_day_later_and_nothing_else(tmp_path):
    old = time.time() - ABANDONED_SECONDS - 60
    left = [f".file.{'0' * 16}.part", f".other.{'a' * 16}.part"]
    kept = [f".file.{'1' * 16}.part", ".file.part", f".file.{'z' * 16}.part", "file"]
    for name in [*left, *kept]:
        (tmp_path / name).touch()
        if name != kept[0]:
            os.utime(tmp_path / name, times=(old, old))
    write(tmp_path / "file", "")
    assert names(tmp_path) == sorted([*kept, left[1]])
    remove_abandoned(tmp_path)
    assert names(tmp_path) == sorted(kept)
