"""Studies whose runs start quickly."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from relbench_pretrain.studies import runner


@pytest.fixture
def quick_runs(monkeypatch, start_python):
    """Makes the runs of studies in processes that need not import the libraries."""

    def run(command, stdout, stderr, env, check):
        assert command[:3] == [sys.executable, "-m", "relbench_pretrain"]
        assert stdout is stderr and not check
        process = start_python(command[1:], Path(stdout.name).resolve(), env)
        process.join()
        return SimpleNamespace(returncode=process.exitcode)

    monkeypatch.setattr(runner.subprocess, "run", run)
