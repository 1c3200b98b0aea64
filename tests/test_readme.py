"""The README's commands, run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from relbench_pretrain.cli import CONFIGS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
QUICK = [
    "--trainer.max_steps=1",
    "--trainer.val_check_interval=1",
    "--trainer.limit_val_batches=1",
    "--trainer.enable_progress_bar=false",
]

SMALL_POOLS = ["--data.pool_queries=4", "--data.pool_negatives=40", "--data.negatives_per_query=40"]


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```\n", README, flags=re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_every_relbench_pretrain_command_runs(run_in, rel_f1, monkeypatch, wandb_offline):
    main(["make-demo", "shop", "--num_rows=5000"])
    mine = [words for words in commands() if words[0] == "relbench-pretrain"]
    assert len(mine) >= 4
    for words in mine:
        zero_shot = any("zero_shot" in word for word in words)
        hypergraph = any("hypergraph" in word for word in words) or words[1] == "align"
        # each begins with a folder without runs
        folder = run_in / ("zero_shot" if zero_shot else "hypergraph" if hypergraph else "")
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        args = [word.replace("../shared/data", str(rel_f1.parent)) for word in words[1:]]
        if args[0] in ("fit", "test"):
            args += QUICK if args[0] == "fit" else ["--trainer.limit_test_batches=1"]
            if zero_shot:
                args += SMALL_POOLS
            elif "--data.dataset" not in args and not hypergraph:
                args += ["--data.dataset=shop"]
            if "--test_after_fit" in args:
                args += ["--trainer.limit_test_batches=1"]
        elif args[0] == "make-demo":
            args[1:2] = ["another"]
        elif args[0] == "baseline":
            pytest.importorskip("lightgbm")
        elif args[0] == "study":  # hours
            with pytest.raises(SystemExit, match="^0$|^None$"):
                main([*args, "--print_config"])
            continue
        main(args)
    monkeypatch.chdir(run_in)
    assert (run_in / "runs/run/version_0/backbone/best/model.safetensors").is_file()
    for code in blocks("python"):
        exec(code, {})


def test_studies_exist():
    named = [word for words in commands() for word in words if word.startswith("studies/")]
    assert named and all((CONFIGS / word).is_file() for word in named)


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    asked = {words[1] for words in commands() if words[0] == "make"}
    assert asked
    assert asked <= targets


def test_benchmark_scripts_exist():
    scripts = [words[1] for words in commands() if words[0] == "python" and words[1] != "-m"]
    assert all((ROOT / script).is_file() for script in scripts), scripts


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml_is_valid(block):
    assert isinstance(yaml.safe_load(block), dict)


def test_tables_of_results_are_the_files_in_results():
    tables = re.findall(r"<!-- (results/\S+) -->\n(.*?)\n<!-- end -->", README, flags=re.DOTALL)
    assert tables
    for path, text in tables:
        assert (ROOT / path).read_text().strip() == text.strip(), f"{path} has changed: copy it into the README"
