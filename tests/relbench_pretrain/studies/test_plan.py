"""Plans: when a run is done."""

import hashlib
import json

from relbench_pretrain.studies.plan import Run


def store(root, run, **changes):
    (root / run.folder).mkdir(parents=True, exist_ok=True)
    record = {"config": run.hash, "seconds": 1.0, "command": run.command} | changes
    (root / run.folder / "run.json").write_text(json.dumps(record))


def test_a_run_is_done_only_with_the_same_arguments(tmp_path):
    run = Run("a", ["fit", "--x=1"], {})
    assert run.record(tmp_path) is None
    store(tmp_path, run)
    assert run.record(tmp_path)["seconds"] == 1
    assert Run("a", ["fit", "--x=2"], {}).record(tmp_path) is None


def test_runs_of_earlier_versions_are_done_if_only_names_have_changed(tmp_path):
    old = Run("a", ["fit", "--data.num_draws=5"], {})
    new = Run("a", ["fit", "--data.num_samples=5"], {})
    after = Run("b", ["test"], {}, [new])
    store(tmp_path, old)
    store(tmp_path, after, config=Run("b", ["test"], {}, [old]).hash)
    assert new.hash != old.hash and new.record(tmp_path) and after.record(tmp_path)
    # what it needs has been made with other arguments since, and then again as before
    store(tmp_path, after, config=hashlib.sha256(b"other").hexdigest()[:12])
    assert after.record(tmp_path) is None
    assert Run("a", ["fit", "--data.num_samples=6"], {}).record(tmp_path) is None
