"""The command line: shipped experiments, errors, resuming."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

import datamodules
import lightning_modules
from relbench_pretrain import from_pretrained
from relbench_pretrain.cli import COMMANDS, CONFIGS, EXPERIMENTS, main, resolve_configs
from relbench_pretrain.commands.configs import shipped_configs
from relbench_pretrain.commands.study import study
from relbench_pretrain.nn.task_network import load_backbone
from relbench_pretrain.pretrained import read_network
from relbench_pretrain.studies.presets import Study

SMALL = ["--trainer.max_steps=1", "--trainer.enable_progress_bar=false"]
PRETRAINING = sorted(
    p.relative_to(EXPERIMENTS) for d in ("contrastive", "forecast") for p in (EXPERIMENTS / d).rglob("*.yaml")
)
FINE_TUNING = sorted(p.relative_to(EXPERIMENTS) for p in (EXPERIMENTS / "fine_tuning").rglob("*.yaml"))


def dataset_options(config: Path, rel_f1: Path) -> list[str]:
    """Points an experiment at data that is here: the small demo, or the real database that it names."""
    name = yaml.safe_load((EXPERIMENTS / config).read_text())["data"]["init_args"]["dataset"]
    return ["--data.dataset=demo-small"] if name == "demo" else [f"--data.dataset={rel_f1}"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A backbone pretrained for two steps on the small demo database."""
    folder = tmp_path_factory.mktemp("pretrained")
    main(
        ["fit", "--config=contrastive/demo.yaml", "--data.dataset=demo-small", "--trainer.max_steps=2",
         "--trainer.val_check_interval=2", "--trainer.limit_val_batches=1", "--trainer.enable_progress_bar=false",
         f"--trainer.default_root_dir={folder}", f"--trainer.logger.init_args.save_dir={folder}"]
    )  # fmt: skip
    return folder / "run" / "version_0" / "backbone" / "best"


@pytest.mark.parametrize("config", PRETRAINING, ids=str)
def test_every_shipped_pretraining_takes_a_step(config, run_in, rel_f1):
    main(["fit", f"--config={config}", *dataset_options(config, rel_f1), *SMALL, "--trainer.limit_val_batches=1"])
    assert (run_in / "runs/run/version_0/backbone/last/model.safetensors").is_file()
    assert (run_in / "runs/run/version_0/config.yaml").is_file()


@pytest.mark.parametrize("config", FINE_TUNING, ids=str)
def test_every_shipped_fine_tuning_takes_a_step(config, run_in, rel_f1, pretrained):
    start = ["--model.start=fine_tuned", f"--model.checkpoint={pretrained}"] if config.stem == "demo" else []
    main(
        ["fit", f"--config={config}", *dataset_options(config, rel_f1), *SMALL, *start,
         "--trainer.val_check_interval=1", "--trainer.limit_val_batches=2"]
    )  # fmt: skip
    assert list((run_in / "runs/run/version_0/checkpoints").glob("*.ckpt"))


def test_configurations_say_what_they_are_for(capsys):
    for config in shipped_configs():
        assert config.purpose.endswith((".", "?")), config.name
        if config.group in ("experiment", "studies", "sweeps"):
            assert set(config.fields) >= {"Hardware", "Time", "Expected"}, config.name
        if config.group == "experiment":
            assert len(config.path.read_text().splitlines()) < 40, config.name
    main(["configs"])
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines() if re.match(r"  \w+/", line)} == {
        config.name for config in shipped_configs()
    }
    main(["configs", "fine_tuning"])
    assert capsys.readouterr().out.count("\n  fine_tuning/") == len(FINE_TUNING)


def test_names_of_experiments_are_found_and_files_go_first(run_in):
    shipped = str(EXPERIMENTS / "contrastive/demo.yaml")
    assert resolve_configs(["fit", "--config", "contrastive/demo.yaml"]) == ["fit", "--config", shipped]
    assert resolve_configs(["--config=contrastive/demo"]) == [f"--config={shipped}"]
    (run_in / "contrastive").mkdir()
    (run_in / "contrastive/demo.yaml").touch()
    assert resolve_configs(["--config=contrastive/demo.yaml"]) == ["--config=contrastive/demo.yaml"]


@pytest.mark.parametrize("experiment", ["contrastive/demo", "zero_shot/demo"])
def test_a_text_embedder_can_be_given_with_its_settings(experiment, capsys, run_in):
    options = [
        "--data.text_embedder=relbench_pretrain.relational.text.HashTextEmbedder",
        "--data.text_embedder.width=9",
    ]
    with pytest.raises(SystemExit) as end:
        main(["fit", f"--config={experiment}", *options, "--print_config"])
    assert end.value.code == 0
    embedder = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["text_embedder"]
    assert embedder["init_args"] == {"width": 9}


@pytest.mark.parametrize("experiment", ["demo", pytest.param("demo-mre", marks=pytest.mark.slow)])
def test_relations_given_as_texts_get_triples(experiment, run_in, capsys):
    data = ["--data.predict_texts=[From music in the north to wide red plain trade in the south.]",
            "--data.predict_heads=[e1, e2]", "--data.predict_top=3"]  # fmt: skip
    common = [f"--config=zero_shot/{experiment}", "--trainer.enable_progress_bar=false"]
    short = ["--trainer.max_epochs=1", "--data.batches_per_epoch=2", "--trainer.limit_val_batches=1"]
    if experiment == "demo":
        short += ["--data.pool_queries=4", "--data.pool_negatives=40", "--data.negatives_per_query=40"]
    else:
        short[0] = "--trainer.max_epochs=3"
        short += [f"--data.training.{phase}_epochs=1" for phase in ("fusion", "extractor", "adversarial")]
    main(["fit", *common, *short])
    main(["predict", *common, *data, "--ckpt_path=runs/run/version_0/checkpoints/best.ckpt"])
    with (run_in / "runs/run/version_1/triples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["head"] for row in rows] == ["e1"] * 3 + ["e2"] * 3
    assert all(row["tail"] != row["head"] for row in rows)
    main(["export", "runs/run/version_0/checkpoints/best.ckpt", "--output_dir=shared"])
    assert sum(p.numel() for p in from_pretrained("shared").parameters())
    assert "* entities: " in Path("shared/README.md").read_text()
    if experiment == "demo-mre":
        return  # heads are looked up in the same way
    with pytest.raises(SystemExit):
        main(["predict", *common, *data, "--data.predict_heads=[nobody]",
              "--ckpt_path=runs/run/version_0/checkpoints/best.ckpt"])  # fmt: skip
    assert "nobody" in capsys.readouterr().err


def test_print_config_composes_files_and_overrides(capsys, run_in):
    (run_in / "more.yaml").write_text("data: {init_args: {batch_size: 7}}")
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config=contrastive/demo", "--config=more.yaml", "--data.seed=5", "--print_config"])
    assert end.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["data"]["init_args"]["batch_size"] == 7
    assert config["data"]["init_args"]["seed"] == 5
    assert config["model"]["class_path"] == "lightning_modules.ContrastivePretraining"


@pytest.mark.parametrize(
    ("args", "message"),
    [(["--data.dataset=./nowhere"], "nowhere"), (["--data.stypes={'products': {'price': 'number'}}"], "products")],
)
def test_mistakes_get_one_line_and_no_traceback(args, message, run_in, capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config=contrastive/demo", "--data.dataset=demo-small", *SMALL, *args])
    assert end.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_checkpoints_that_can_run_code_are_refused_wherever_they_are_given(run_in, capsys, monkeypatch):
    class Harmful:
        def __reduce__(self):
            return (Path.touch, (run_in / "marker",))

    torch.save({"state_dict": {}, "more": Harmful()}, "a.ckpt")
    fetched = Path("a.ckpt").absolute()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, weights_only, **_: torch.load(
        fetched, weights_only=weights_only))  # fmt: skip
    files = SimpleNamespace(exists=lambda path: True)
    monkeypatch.setattr("lightning.fabric.plugins.io.torch_io.get_filesystem", lambda path: files)
    fit = ["fit", "--config=hypergraph/recovery", "--data.graph.num_nodes=5", "--data.num_samples=100", *SMALL]
    for args in (
        ["export", "a.ckpt", "--output_dir=shared"],
        [*fit, "--ckpt_path=a.ckpt"],
        [*fit, "--ckpt_path=https://a/a.ckpt"],
    ):
        with pytest.raises(SystemExit) as end:
            main(args)
        assert end.value.code == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith("error: ") and "more than tensors and plain values" in message
        assert "weights_only" not in message
    assert sorted(path.name for path in run_in.iterdir() if path.name != "runs") == ["a.ckpt"]


@pytest.mark.parametrize("config", ["contrastive/demo", pytest.param("forecast/demo", marks=pytest.mark.slow)])
def test_resuming_takes_up_step_and_weights(config, run_in):
    common = ["fit", f"--config={config}", "--data.dataset=demo-small", "--trainer.enable_progress_bar=false",
              "--trainer.limit_val_batches=1", "--trainer.val_check_interval=2"]  # fmt: skip
    main([*common, "--trainer.max_steps=2"])
    (checkpoint,) = (run_in / "runs/run/version_0/checkpoints").glob("*.ckpt")
    state = torch.load(checkpoint, weights_only=True)
    assert state["global_step"] == 2
    assert state["schema"]["tables"]
    main([*common, "--trainer.max_steps=4", f"--ckpt_path={checkpoint}"])
    (resumed,) = (run_in / "runs/run/version_1/checkpoints").glob("*.ckpt")
    assert torch.load(resumed, weights_only=True)["global_step"] == 4
    main(["export", str(resumed), "--output_dir=shared", "--licence=mit"])
    weights, last = (load_backbone(f).state_dict() for f in ("shared", "runs/run/version_1/backbone/last"))
    assert all(torch.equal(value, weights[name]) for name, value in last.items())
    info = read_network("shared").info
    assert info["step"] == 4 and info["data"]["dataset"] and "val/loss" in info["metrics"]


def test_fit_then_test_names_the_regime(run_in, pretrained):
    common = ["--config=fine_tuning/demo", "--data.dataset=demo-small", f"--model.checkpoint={pretrained}",
              "--model.start=frozen", "--trainer.enable_progress_bar=false"]  # fmt: skip
    main(["fit", *common, "--trainer.max_epochs=1"])
    best = run_in / "runs/run/version_0/checkpoints/best.ckpt"
    main(["test", *common, f"--ckpt_path={best}"])
    with (run_in / "runs/run/version_1/metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    main(["export", str(best), "--output_dir=shared"])
    assert from_pretrained("shared").task.name == "customer-churn"
    assert 0 <= float(row["test/rolling/roc_auc"]) <= 1


def test_shipped_loggers_are_found_by_name_and_files_go_first(run_in):
    shipped = str(CONFIGS / "logger/wandb.yaml")
    for option in ("--trainer.logger", "--trainer.logger+"):
        assert resolve_configs([f"{option}=logger/wandb.yaml"]) == [f"{option}={shipped}"]
        assert resolve_configs([option, "logger/wandb.yaml"]) == [option, shipped]
    assert resolve_configs(["fit", "--data.dataset=demo"]) == ["fit", "--data.dataset=demo"]
    (run_in / "logger").mkdir()
    (run_in / "logger/wandb.yaml").touch()
    assert resolve_configs(["--trainer.logger=logger/wandb.yaml"]) == ["--trainer.logger=logger/wandb.yaml"]


@pytest.mark.parametrize("path", sorted((CONFIGS / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_an_agent_runs_of_a_shipped_sweep_is_a_run(path, run_in, monkeypatch, capsys):
    from wandb import wandb_agent

    started: list[list[str]] = []
    monkeypatch.setattr(wandb_agent, "AgentProcess", lambda command, **options: started.append(command) or MagicMock())
    monkeypatch.setenv("WANDB_DIR", str(run_in))
    monkeypatch.setenv("WANDB_RUN_ID", "")  # set by the agent, and put back after the test
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "")
    sweep = yaml.safe_load(path.read_text())
    ends = [
        {
            key: spec.get("value", spec.get("values", [spec.get(end)])[place])
            for key, spec in sweep["parameters"].items()
        }
        for end, place in (("min", 0), ("max", -1))
    ]
    for number, values in enumerate(ends):
        agent = wandb_agent.Agent(None, None, sweep_id="s")
        agent._sweep_command = sweep["command"]
        arguments = {key: {"value": value} for key, value in values.items()}
        agent._command_run({"run_id": f"r{number}", "program": sweep["program"], "args": arguments})
        assert started[-1][:5] == ["/usr/bin/env", "python", "-m", "relbench_pretrain", "fit"]
        with pytest.raises(SystemExit, match="^0$|^None$"):
            main([*started[-1][4:], "--print_config"])
        config = yaml.safe_load(capsys.readouterr().out)
        for key, value in values.items():
            found = config
            for part in key.split("."):
                found = found[part] if part in found else found["init_args"][part]
            assert found == value, key
        assert config["trainer"]["logger"]["class_path"] == "relbench_pretrain.trainer.WandbLogger"


def test_module_and_help_run_as_commands(capsys, start_python, tmp_path):
    process = start_python(["-m", "relbench_pretrain", "fit", "--help"], tmp_path / "help")
    process.join(120)
    assert process.exitcode == 0
    assert "usage: relbench-pretrain" in (tmp_path / "help").read_text()
    with pytest.raises(SystemExit, match="^0$|^None$"):
        main(["demo", "--help"])
    assert "usage: relbench-pretrain" in capsys.readouterr().out


FAST = """
import sys
from relbench_pretrain.cli import main
for args in ([], ["--help"], ["--version"], ["configs"], ["configs", "contrastive/demo"], ["configs", "--help"],
             ["fti"], ["configs", "demmo"], ["fit", "contrastive/dmeo"], ["study", "rel-f2"], ["--foo"]):
    try:
        main(args)
    except SystemExit as end:
        print("exit", end.code, file=sys.stderr)
heavy = {"torch", "lightning", "jsonargparse", "numpy", "pandas", "yaml"} & set(sys.modules)
assert not heavy, heavy
"""


def test_what_needs_no_library_imports_none():
    process = subprocess.run([sys.executable, "-c", FAST], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    text = process.stdout
    for name in COMMANDS:
        assert f"\n  {name} " in text
    assert re.search(r"relbench-pretrain \d+\.\d+", text)
    errors = [line for line in process.stderr.splitlines() if line.startswith(("error: ", "exit "))]
    assert errors[1::2] == ["exit 2"] * 5
    hints = ["'fit'", "'contrastive/demo'", "'contrastive/demo'", "'rel-f1'", "'relbench-pretrain fit --foo'"]
    assert all(hint in error for hint, error in zip(hints, errors[::2], strict=True))


def test_every_command_has_a_function_that_is_described():
    for name, command in COMMANDS.items():
        assert (command.load().__doc__ or "").strip(), name
        assert len(command.summary) < 62, name


@pytest.mark.parametrize(
    ("args", "messages"),
    [
        (["hypergraph/recovery", "--data.num_sample=5"], ["Option 'num_sample' is not accepted", "'num_samples'"]),
        (["hypergraph/recovery", "--trainer.max_stepps=3"], ["'--trainer.max_steps'"]),
        (["hypergraph/recovery", "--data.graph=Stra"], ["'Star'"]),
        (["hypergraph/recovery", "--ckpt_path=absent.ckpt"], ["there is no checkpoint 'absent.ckpt'"]),
        (["hypergraph/recovery", "--ckpt_path=."], ["is a folder"]),
        ([], ["--config NAME"]),
    ],
)
def test_mistyped_arguments_are_told_in_few_lines(args, messages, run_in, capsys):
    with pytest.raises(SystemExit, match="^2$"):
        main(["fit", *args])
    error = capsys.readouterr().err
    assert all(message in error for message in messages)
    assert len(error.splitlines()) < 8
    assert "usage" not in error


def test_classes_and_their_options_are_explained(capsys):
    def printed(*args):
        with pytest.raises(SystemExit, match="^0$|^None$"):
            main(["fit", *args])
        return capsys.readouterr().out

    for section, names in (("data", datamodules.__all__), ("model", lightning_modules.__all__)):
        listed = printed(f"--{section}.help")
        assert all(f"\n  {name}\n" in listed for name in names)
    for args in (["--data.help=HypergraphDataModule"], ["--data.help", "HypergraphDataModule"],
                 ["hypergraph/recovery", "--data.help"], ["--data=HypergraphDataModule", "--data.help"]):  # fmt: skip
        text = printed(*args)
        assert text.startswith("usage: relbench-pretrain fit ")
        assert "--data.num_samples" in text
    assert "--data.graph.num_nodes" in printed("hypergraph/recovery", "--data.graph.help=Star")


RECOVERY = [
    "fit", "hypergraph/recovery", "--data.graph.num_nodes=5", "--data.num_samples=200", "--data.batch_size=50",
    "--trainer.enable_progress_bar=false", "--trainer.val_check_interval=1", "--trainer.limit_val_batches=1",
]  # fmt: skip


def test_a_checkpoint_gives_state_and_no_options(run_in):
    main([*RECOVERY, "--trainer.max_steps=1", "--output_dir=first"])
    state = torch.load("first/run/version_0/checkpoints/last.ckpt", weights_only=True)
    assert state["hyper_parameters"]
    state["hyper_parameters"] |= {
        "optimizer": {"class_path": "os.system", "init_args": {"command": "touch marker"}},
        "lr_scheduler": {"class_path": "somebodys.Schedule"},
        "compile": True,
    }
    torch.save(state, "harmful.ckpt")
    typed = ["--model.optimizer.init_args.lr=0.123", "--ckpt_path=harmful.ckpt", "--output_dir=second"]
    main([*RECOVERY, "--trainer.max_steps=2", *typed])
    assert not Path("marker").exists()
    model = yaml.safe_load(Path("second/run/version_0/config.yaml").read_text())["model"]["init_args"]
    assert model["optimizer"]["init_args"]["lr"] == 0.123
    assert model["compile"] is False
    assert torch.load("second/run/version_0/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2


def test_names_of_earlier_versions_are_taken_with_a_word(run_in, capsys):
    Path("old.yaml").write_text(
        "data: {class_path: datamodules.HypergraphDataModule, init_args: {num_draws: 300, "
        "draws: {class_path: relbench_pretrain.hypergraph.draws.BiasedDraws, init_args: {power: 0.5}}}}\n"
        "trainer: {logger: {class_path: callbacks.loggers.CSVLogger, init_args: {save_dir: here}}}\n"
    )
    with pytest.raises(SystemExit, match="^0$|^None$"):
        main(["fit", "hypergraph/recovery", "--config=old.yaml", "--data.num_draws=400", "--print_config"])
    out, err = capsys.readouterr()
    config = yaml.safe_load(out)
    assert config["data"]["init_args"]["num_samples"] == 400
    assert config["data"]["init_args"]["sampling"] == {
        "class_path": "relbench_pretrain.hypergraph.BiasedSampling", "init_args": {"power": 0.5}}  # fmt: skip
    assert config["trainer"]["logger"]["class_path"] == "relbench_pretrain.trainer.CSVLogger"
    assert "warning: the option 'num_draws' is called 'num_samples' now" in err
    main(["make-demo", "shop", "--num_rows=2000"])
    assert Path("shop/db").is_dir()
    assert "warning: what is given as 'shop' by its place is called '--output_dir' now" in capsys.readouterr().err


ANY_VALUE = tuple(
    f"--{option}="
    for option in ("data.dataset", "data.task", "data.label_fraction", "data.seed", "seed_everything", "model.start",
                   "model.checkpoint")
)  # fmt: skip
NUMBER = re.compile(r"=[\d.e_-]+$")
STUDIES = sorted((CONFIGS / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_first_run_of_every_shipped_study_parses(path, tmp_path):
    parse_runs(path, tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_run_of_every_shipped_study_parses(path, tmp_path):
    parse_runs(path, tmp_path)


def parse_runs(path, folder, most=None):
    """Parses the runs of a study that differ in more than a number, or the first of them."""
    parsed = ArgumentParser()
    parsed.add_function_arguments(study)
    arguments = parsed.instantiate_classes(parsed.parse_object(yaml.safe_load(path.read_text())))
    # Of an experiment over values the first stands for all.
    arguments["experiments"] = {
        name: replace(spec, values={key: found[:1] for key, found in spec.values.items()})
        for name, spec in arguments["experiments"].items()
    }
    names = {part.name for part in fields(Study)}
    plans = Study(**{name: value for name, value in arguments.items() if name in names}).runs(folder)
    assert plans
    seen: set[object] = set()
    number = 0
    for run in plans:  # one name, one seed, one share and one number stand for all of them
        any_value = (part.startswith(ANY_VALUE) or NUMBER.search(part) for part in run.command)
        key = tuple(p.partition("=")[0] if some else p for p, some in zip(run.command, any_value, strict=True))
        key = tuple(part for part in key if part != "--model.checkpoint")
        new = {key, *(part for part in run.command if part.startswith("--model.start="))} - seen
        if run.command[0] in ("fit", "test") and new and number != most:
            seen |= new
            number += 1
            with pytest.raises(SystemExit, match="^0$|^None$"):
                main([*run.command, "--print_config"])
