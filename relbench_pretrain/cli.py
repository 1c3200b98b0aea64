"""The command line: a LightningCLI, and the commands beside it. The only file that sees all packages."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import yaml
from jsonargparse import auto_cli, get_loader, set_loader
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

import datamodules  # noqa: F401  # so that help lists what there is
import lightning_modules  # noqa: F401
from callbacks import ExactResume, FiniteLoss, LastCheckpoint, NonFiniteError
from callbacks.named_run import NamedRun
from relbench_pretrain.commands.align import align
from relbench_pretrain.commands.ask import ask
from relbench_pretrain.commands.baseline import baseline
from relbench_pretrain.commands.demo import demo
from relbench_pretrain.commands.embed import embed
from relbench_pretrain.commands.export import export
from relbench_pretrain.commands.study import study
from relbench_pretrain.datasets.shop.database import write_demo_database
from relbench_pretrain.files import atomic_file
from relbench_pretrain.hypergraph.hypergraph import HypergraphError
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError
from relbench_pretrain.pretrained.safe_loading import CheckpointError, not_plain
from relbench_pretrain.relational.database import DatabaseError, DatasetError
from relbench_pretrain.relational.schema import SchemaError
from relbench_pretrain.relational.stypes import StypeError
from relbench_pretrain.relational.tasks import TaskError
from relbench_pretrain.relational.text import TextModelError
from relbench_pretrain.renamed import RenamedWarning, translated, translated_arguments
from relbench_pretrain.studies.plan import StudyError
from relbench_pretrain.trainer.checkpoint_io import AtomicCheckpointIO, complete_checkpoint
from relbench_pretrain.trainer.loggers import check_loggers, name_loggers
from relbench_pretrain.trainer.media import log_artifact
from relbench_pretrain.trainer.run_folder import RunError, leaves_files, logger_folder
from relbench_pretrain.trainer.specification import SpecificationError

CONFIGS = Path(str(files("relbench_pretrain"))) / "configs"
EXPERIMENTS = CONFIGS / "experiment"
USER_ERRORS = (
    CheckpointError,
    DatabaseError,
    DatasetError,
    HypergraphError,
    KnowledgeGraphError,
    NonFiniteError,
    RunError,
    SchemaError,
    SpecificationError,
    StudyError,
    StypeError,
    TaskError,
    TextModelError,
)
TRACEBACK_VARIABLE = "RELBENCH_PRETRAIN_TRACEBACK"


def make_demo(folder: str, num_rows: int = 20_000, seed: int = 0) -> None:
    """Writes the built-in demo database as a RelBench folder.

    Args:
        folder: The folder to write.
        num_rows: Rows over all tables.
        seed: Another seed gives another database.
    """
    print(write_demo_database(folder, num_rows, seed))


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "make-demo": make_demo,
    "study": study,
    "embed": embed,
    "baseline": baseline,
    "ask": ask,
    "align": align,
    "export": export,
}


BY_NAME = ("study",)
"""The commands whose arguments are too many to be given by their place."""


class SaveConfig(SaveConfigCallback):
    """Writes the resolved configuration into the run's own folder, into ``wandb.config`` and as an artifact."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Runs on the first process, once."""
        if not leaves_files(trainer):
            return
        text = self.parser.dump(self.config, skip_none=False)
        path = logger_folder(trainer) / "config.yaml"
        with atomic_file(path) as part:
            part.write_text(text)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.config.update(yaml.safe_load(text), allow_val_change=True)
        log_artifact(trainer, path, "config")


class RelBenchPretrainCLI(LightningCLI):
    """LightningCLI that also finds the shipped experiments by name."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds two options, and names the other commands and the shipped experiments under the help text."""
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=False,
            help="Test the best checkpoint when training is done; the last one where nothing is validated.",
        )
        parser.add_argument(
            "--run",
            type=str | None,
            default=None,
            help="Name of the run, and of its folder. The same command again goes on from its newest checkpoint.",
        )
        names = sorted(str(path.relative_to(EXPERIMENTS)) for path in EXPERIMENTS.rglob("*.yaml"))
        parser.epilog = (
            f"Shipped experiments for --config: {', '.join(names)}. "
            f"Commands beside the Trainer's: {', '.join(COMMANDS)} (each with --help)."
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the command line, in which ``--config`` may name a shipped experiment."""
        given = sys.argv[1:] if args is None else args
        if isinstance(given, Sequence):
            self.config = parser.parse_args(list(given))
        else:
            super().parse_arguments(parser, args)
        section = self.config.get(self.config.get("subcommand") or "", {})
        if section.get("ckpt_path") and Path(section["ckpt_path"]).is_file():
            section["ckpt_path"] = str(complete_checkpoint(section["ckpt_path"]))

    def after_fit(self) -> None:
        """Tests the checkpoint that validation chose, if that is wanted; without validation the last weights."""
        if self.config["fit"].test_after_fit and leaves_files(self.trainer) and not self.trainer.interrupted:
            chosen = "best" if getattr(self.trainer.checkpoint_callback, "best_model_path", "") else None
            self.trainer.test(self.model, self.datamodule, ckpt_path=chosen, weights_only=True)

    def before_instantiate_classes(self) -> None:
        """Lets the data take the schema of the checkpoint that the model starts from, and runs no code of a file."""
        config = self.config[self.subcommand]
        if config.get("weights_only") is None:  # Lightning's own default trusts checkpoints that come by http
            config["weights_only"] = True
        checkpoint = config.get("model.init_args.checkpoint")
        if checkpoint is not None and "checkpoint" in (config.get("data.init_args") or {}):
            config["data.init_args.checkpoint"] = config.get("data.init_args.checkpoint") or checkpoint
            if config.get("model.init_args.extra_tables"):
                config["data.init_args.extra_tables"] = True
        check_loggers(config["trainer.logger"])
        self.named, config["run"] = config.get("run"), None
        if self.named and self.subcommand != "fit":
            raise RunError(f"--run is for fit: to {self.subcommand} what it has trained, give --ckpt_path")
        if self.named and config["trainer.fast_dev_run"]:
            raise RunError("--run needs a run that leaves files, and trainer.fast_dev_run leaves none")
        self.typed = self.config.clone()  # what is saved has no trace of the name, so that other runs can take it
        if self.named:
            name_loggers(config["trainer.logger"], self.named, config["trainer.default_root_dir"] or ".")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Makes the trainer; a named run goes on from its newest checkpoint, if it has one.

        Raises:
            RunError: If it was begun with other settings.
        """
        self.config = self.typed
        config = self.config_init[self.subcommand]
        plugins = config["trainer.plugins"] or []
        plugins = [*plugins] if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(AtomicCheckpointIO())
        kwargs["plugins"] = plugins
        if not self.named:
            return super().instantiate_trainer(**kwargs)
        if config["ckpt_path"]:
            raise RunError("--run chooses the checkpoint: leave out --ckpt_path, or --run")
        loggers = config["trainer.logger"]
        run = NamedRun(self.named, loggers if isinstance(loggers, list) else [loggers])
        run.check(self._parser(self.subcommand).dump(self.config[self.subcommand], skip_none=False))
        config["ckpt_path"] = str(run.checkpoint) if run.checkpoint else None
        config["trainer.callbacks"] = [*(config["trainer.callbacks"] or []), run]
        return super().instantiate_trainer(**kwargs | {"default_root_dir": str(run.folder)})


def resolve_configs(args: Sequence[str]) -> list[str]:
    """Replaces names of shipped files by their paths; files that exist go first.

    They are experiments after ``--config``, and parts such as ``logger/wandb.yaml`` after any option.
    """
    resolved = []
    for i, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if arg.startswith("-") and equals:
            arg = f"{option}={_shipped(value, option == '--config')}"
        elif i > 0 and args[i - 1].startswith("-"):
            arg = _shipped(arg, args[i - 1] in ("--config", "-c"))
        resolved.append(arg)
    return resolved


def _shipped(name: str, experiment: bool) -> str:
    places = [CONFIGS / name] if name.endswith(".yaml") else []
    if experiment:
        places = [EXPERIMENTS / name, EXPERIMENTS / f"{name}.yaml", CONFIGS / name]
    if not name or Path(name).is_file():
        return name
    return next((str(path) for path in places if path.is_file()), name)


def _leave_out_noise() -> None:
    """Keeps advertisements, and warnings that libraries give to themselves, off the terminal."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "Tip: " not in record.getMessage()
    )
    for message in (
        ".*isinstance.treespec, LeafSpec.*",
        ".*does not have many workers.*",
        ".*torch.jit.*deprecated.*",
        ".*Couldn't infer the batch indices.*",
        ".*Grad strides do not match bucket view strides.*",
    ):
        warnings.filterwarnings("ignore", message=message)


_read = get_loader("yaml")


def _names_of_today(args: Sequence[str]) -> list[str]:
    """Translates names of earlier versions: on the command line, and in whatever YAML is read after it."""
    classes, given = _sections(args)

    def load(text: str) -> Any:
        value = _read(text)
        return translated(value, given) if isinstance(value, (dict, list)) else value

    set_loader("yaml", load, (yaml.YAMLError,))
    return translated_arguments(args, classes, given, _read)


def _sections(args: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """Returns the classes of data and model in the configurations of a command, and which arguments are given."""
    given = {arg.partition("=")[0].rstrip("+").replace(".init_args", "") for arg in args if arg.startswith("--")}
    classes, names = {}, {option.split(".")[1] for option in given if "." in option}
    for before, argument in zip(["", *args], args, strict=False):
        option, _, value = argument.partition("=") if argument.startswith("--config=") else (before, "", argument)
        if option not in ("--config", "-c") or not Path(value).is_file():
            continue
        try:
            config = yaml.safe_load(Path(value).read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # the parser says what is wrong with it
        for section in ("data", "model"):
            part = config.get(section) if isinstance(config, dict) else None
            if isinstance(part, str) and (Path(value).parent / part).is_file():
                part = yaml.safe_load((Path(value).parent / part).read_text())
            if isinstance(part, dict):
                names |= {name for name, value in (part.get("init_args") or {}).items() if value is not None}
                part = part.get("class_path")
            if isinstance(part, str):
                classes[section] = part
    return classes, names


_shown = warnings.showwarning


def _show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
    """Shows a warning about a name in one line."""
    if issubclass(category, RenamedWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        _shown(message, category, *rest, **more)


def main(args: Sequence[str] | None = None) -> None:
    """Runs one command.

    Args:
        args: The arguments, those of the process by default.
    """
    args = list(sys.argv[1:] if args is None else args)
    _leave_out_noise()
    warnings.showwarning = _show
    args = _names_of_today(resolve_configs(args))
    try:
        if args and args[0] in COMMANDS:
            auto_cli(
                COMMANDS[args[0]],
                args=args[1:],
                as_positional=args[0] not in BY_NAME,
                prog=f"relbench-pretrain {args[0]}",
            )
        else:
            RelBenchPretrainCLI(
                LightningModule,
                LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=SaveConfig,
                save_config_kwargs={"save_to_log_dir": False},
                trainer_defaults={"callbacks": [ExactResume(), FiniteLoss(), LastCheckpoint()]},
                seed_everything_default=0,
                parser_kwargs={"prog": "relbench-pretrain"},
                args=args,
            )
    except (*USER_ERRORS, UnpicklingError) as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        told = not_plain("--ckpt_path", error) if isinstance(error, UnpicklingError) else error
        print(f"error: {told}", file=sys.stderr)
        sys.exit(2)
