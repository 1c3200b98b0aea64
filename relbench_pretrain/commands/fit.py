"""The commands of the Trainer: fit, validate, test and predict, read by LightningCLI."""

from __future__ import annotations

import inspect
import logging
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

import datamodules
import lightning_modules
from callbacks import ExactResume, FiniteLoss, LastCheckpoint, ProgressLines
from callbacks.named_run import NamedRun
from relbench_pretrain import hypergraph
from relbench_pretrain.commands.arguments import BriefErrors, sections
from relbench_pretrain.files import atomic_file
from relbench_pretrain.pretrained.safe_loading import CheckpointError
from relbench_pretrain.trainer.checkpoint_io import AtomicCheckpointIO, complete_checkpoint
from relbench_pretrain.trainer.loggers import check_loggers, name_loggers
from relbench_pretrain.trainer.media import log_artifact
from relbench_pretrain.trainer.run_folder import RunError, leaves_files, logger_folder

PROGRAM = "relbench-pretrain"
ABOUT = {
    "fit": "Trains a model on data, as a configuration describes both, and keeps checkpoints, metrics and the network.",
    "validate": "Scores a checkpoint on the validation data.",
    "test": "Scores a checkpoint on the test data, once the choice between models is made.",
    "predict": "Writes what a checkpoint predicts to a file in the run's folder.",
}
"""A line for each command."""
EPILOG = """'relbench-pretrain configs' lists the names for --config, which also takes your files and can be given more
than once; options go over files. --data.help and --model.help list the classes, and with a name (--data.help NAME) the
options of one; --print_config prints what would be run."""
PARTS = [getattr(hypergraph, name) for name in hypergraph.__all__]
"""Imported so that help lists them, and so that they can be given by their bare names."""
KEYWORDS = ("best", "last", "hpc")
"""The words that Lightning takes for --ckpt_path beside files."""


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


class TrainerParser(BriefErrors, LightningArgumentParser):
    """LightningCLI's parser with errors of a line."""


class RelBenchPretrainCLI(LightningCLI):
    """LightningCLI for one command, with runs that have a name and a folder."""

    only: ClassVar[str]

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:  # type: ignore[override]
        """Returns the commands that can be parsed: the one that was given, since each takes a second to prepare."""
        return {cls.only: LightningCLI.subcommands()[cls.only]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the options of this program."""
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
        parser.add_argument(
            "--output_dir",
            type=str | None,
            default=None,
            help="The folder for runs, in place of the save_dir of all loggers, which is 'runs'.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the command line.

        Raises:
            CheckpointError: If there is no checkpoint at ``--ckpt_path``.
        """
        self.config = parser.parse_args(args) if isinstance(args, list) else parser.parse_object(args)
        section = self.config.get(self.config.get("subcommand") or "", {})
        if section.get("ckpt_path") and not section.get("run"):
            section["ckpt_path"] = _checkpoint(section["ckpt_path"])

    def _parse_ckpt_path(self) -> None:
        """Takes no options from a checkpoint: Lightning's own merges what it holds over what is asked for.

        A file's ``hyper_parameters`` may also name any class at all, which would be built.
        """

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
        folder, config["output_dir"] = config.get("output_dir"), None
        if folder is not None:
            place_runs(config["trainer"], folder)
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
        if not sys.stdout.isatty() and not config["trainer.enable_progress_bar"]:  # a bar would fill a file
            kwargs["enable_progress_bar"] = False
            config["trainer.callbacks"] = [*(config["trainer.callbacks"] or []), ProgressLines()]
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


def place_runs(trainer: Any, folder: str) -> None:
    """Puts the runs of a configuration into a folder.

    Args:
        trainer: The section ``trainer``, which is changed.
        folder: The folder for the files of all loggers.
    """
    trainer["default_root_dir"] = folder
    loggers = trainer["logger"]
    for section in loggers if isinstance(loggers, list) else [loggers]:
        if hasattr(section, "init_args") and "save_dir" in section.init_args:
            section.init_args.save_dir = folder


def _checkpoint(path: str) -> str:
    """Returns the path of a checkpoint that is whole; keywords and addresses elsewhere are Lightning's to find."""
    if path in KEYWORDS or "://" in path or path.startswith("registry"):
        return path
    place = Path(path)
    if not place.exists():
        raise CheckpointError(f"there is no checkpoint '{path}': give a file of a run's folder checkpoints/")
    if place.is_dir() and not (place / "meta.pt").is_file() and not (place / ".metadata").is_file():
        found = sorted(place.rglob("*.ckpt"))
        raise CheckpointError(
            f"'{path}' is a folder and no checkpoint" + (f": did you mean '{found[0]}'?" if found else "")
        )
    return str(complete_checkpoint(place))


def run_trainer(command: str, args: Sequence[str]) -> None:
    """Runs fit, validate, test or predict.

    Args:
        command: Which of them.
        args: All arguments, the command first.
    """
    _leave_out_noise()
    cli = type("CLI", (RelBenchPretrainCLI,), {"only": command})
    parser = type("Parser", (TrainerParser,), {"program": f"{PROGRAM} {command}"})
    args = explained_class(command, args)
    cli(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=SaveConfig,
        save_config_kwargs={"save_to_log_dir": False},
        trainer_defaults={"callbacks": [ExactResume(), FiniteLoss(), LastCheckpoint()]},
        seed_everything_default=0,
        parser_class=parser,
        parser_kwargs={
            "prog": PROGRAM,
            command: {"description": ABOUT[command], "epilog": EPILOG, "usage": _usage(command)},
        },
        args=args,
    )


def _usage(command: str) -> str:
    checkpoint = "" if command == "fit" else " --ckpt_path FILE"
    return f"{PROGRAM} {command} --config NAME{checkpoint} [--data.OPTION VALUE] [--model.OPTION VALUE] [OPTIONS]"


def explained_class(command: str, args: Sequence[str]) -> list[str]:
    """Gives ``--data.help`` and ``--model.help`` the class that the other arguments name, or lists the classes.

    Args:
        command: The command.
        args: Its arguments.

    Returns:
        The arguments; where the classes are listed, the process ends.
    """
    for section, package, kind in (
        ("data", datamodules, LightningDataModule),
        ("model", lightning_modules, LightningModule),
    ):
        option, known = f"--{section}.help", sections(args)[0].get(section)
        nested = next((i for i, arg in enumerate(args) if re.match(rf"--{section}\.[\w.]+\.help\b", arg)), None)
        if nested is not None and known and option not in args:  # the parser's own answer would leave out the section
            return [command, f"{option}={known}", *args[nested:]]
        following = args[args.index(option) + 1 :] if option in args else ["NAME"]
        if following and not following[0].startswith("-"):
            continue
        if known:
            return [command, f"{option}={known}"]
        print(f"Classes for --{section}; '{PROGRAM} {command} {option} NAME' prints the options of one.\n")
        for name in package.__all__:
            found = getattr(package, name)
            if inspect.isclass(found) and issubclass(found, kind) and not inspect.isabstract(found):
                about = re.sub(r":\w+:`~?([^`]+)`", r"\1", (found.__doc__ or "").strip().splitlines()[0])
                print(f"  {name}\n      {about}")
        raise SystemExit(0)
    return list(args)


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
        ".*The dirpath has changed.*",
        ".*Grad strides do not match bucket view strides.*",
    ):
        warnings.filterwarnings("ignore", message=message)
