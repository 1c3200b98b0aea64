"""The command line: which commands there are, and what is said of them before any library is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from pickle import UnpicklingError
from typing import Any

from relbench_pretrain.commands.configs import CONFIGS, EXPERIMENTS, configs, nearest, resolve_configs
from relbench_pretrain.errors import UserError

__all__ = ["COMMANDS", "CONFIGS", "EXPERIMENTS", "Command", "main", "resolve_configs"]

PROGRAM = "relbench-pretrain"
TRACEBACK_VARIABLE = "RELBENCH_PRETRAIN_TRACEBACK"


@dataclass(frozen=True)
class Command:
    """A command: where its function is, which is imported when it runs.

    Args:
        group: The heading it stands under.
        summary: What it does, in a line.
        home: The module in ``commands/`` with its function.
        trainer: Whether it is a method of the Trainer, so that LightningCLI reads its arguments.
    """

    group: str
    summary: str
    home: str
    trainer: bool = False

    def load(self) -> Callable[..., Any]:
        """Imports and returns the function; its arguments are those of the command."""
        module, _, name = self.home.partition(":")
        return getattr(import_module(module), name)


TRAIN, DATA, NETWORKS = "Train and test", "Databases and vectors", "Trained networks and hypergraphs"
STUDIES = "Demonstration, studies and what is shipped"
TRAINER = "relbench_pretrain.commands.fit:run_trainer"
COMMANDS: dict[str, Command] = {
    "fit": Command(TRAIN, "Train a model on data, as a configuration describes both", TRAINER, trainer=True),
    "validate": Command(TRAIN, "Score a checkpoint on the validation data", TRAINER, trainer=True),
    "test": Command(TRAIN, "Score a checkpoint on the test data", TRAINER, trainer=True),
    "predict": Command(TRAIN, "Write what a checkpoint predicts to a file", TRAINER, trainer=True),
    "make-demo": Command(
        DATA, "Write the built-in demo database as a folder", "relbench_pretrain.commands.make_demo:make_demo"
    ),
    "baseline": Command(
        DATA, "Score a simple rule or boosted trees on a task", "relbench_pretrain.commands.baseline:baseline"
    ),
    "embed": Command(DATA, "Write a vector for every row of a table", "relbench_pretrain.commands.embed:embed"),
    "export": Command(
        NETWORKS, "Write a checkpoint's network as a folder to share", "relbench_pretrain.commands.export:export"
    ),
    "align": Command(
        NETWORKS, "Find which node of one hypergraph is which of another", "relbench_pretrain.commands.align:align"
    ),
    "ask": Command(
        NETWORKS, "Ask language models for the edges of concept graphs", "relbench_pretrain.commands.ask:ask"
    ),
    "demo": Command(
        STUDIES, "Pretrain and fine-tune on the demo database, in two minutes", "relbench_pretrain.commands.demo:demo"
    ),
    "study": Command(
        STUDIES, "Run a plan of many runs, and write its tables and plots", "relbench_pretrain.commands.study:study"
    ),
    "configs": Command(
        STUDIES, "List the shipped configurations, or print one", "relbench_pretrain.commands.configs:configs"
    ),
}

NEXT = f"""\
Where to look next:
  {PROGRAM} demo                     see it work
  {PROGRAM} configs                  what can be trained, on which hardware and for how long
  {PROGRAM} COMMAND --help           the arguments of a command
  {PROGRAM} fit --data.help          the data there are; --model.help lists the models

What a command reads is given by its place, as in '{PROGRAM} fit contrastive/demo' or
'{PROGRAM} embed CHECKPOINT TABLE', and everything else by name. Where it writes is --output_dir
for a folder and --output for a file. Any command takes its options from --config FILE too.
{TRACEBACK_VARIABLE}=1 shows where in the program an error arose."""


def main(args: Sequence[str] | None = None) -> None:
    """Runs one command.

    Args:
        args: The arguments, those of the process by default.
    """
    args = list(sys.argv[1:] if args is None else args)
    if args[:1] == ["help"]:
        args = [*args[1:], "--help"]
    try:
        if not args or args[0] in ("-h", "--help"):
            print(overview())
        elif args[0] == "--version":
            print(f"{PROGRAM} {_version()}")
        elif args[0] == "configs":
            configs(args[1:])
        else:
            _run(args)
    except BrokenPipeError:
        if "torch" in sys.modules:
            raise
        # Who reads a list has seen enough, as 'head' does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (UserError, UnpicklingError) as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(f"error: {_told(error)}", file=sys.stderr)
        sys.exit(2)


def overview() -> str:
    """Returns the help text of the program: every command with a line, in groups."""
    lines = [f"usage: {PROGRAM} COMMAND [ARGUMENTS]", "", "Pretraining on relational data with PyTorch Lightning.", ""]
    for group, members in groupby(COMMANDS.items(), key=lambda item: item[1].group):
        lines += [f"{group}:", *(f"  {name:<11}{command.summary}" for name, command in members), ""]
    return "\n".join([*lines, f"Options: --help, --version. {PROGRAM} is also python -m relbench_pretrain.", "", NEXT])


def _run(args: Sequence[str]) -> None:
    """Runs a command; what it reads its configuration from may be given by its place.

    Raises:
        UserError: If there is no such command.
    """
    name, rest = args[0], list(args[1:])
    if name not in COMMANDS:
        if name.startswith("-"):
            raise UserError(f"'{name}' is no command: begin with one, as in '{PROGRAM} fit {name}'")
        hint = nearest(name, [*COMMANDS, "--version"])
        raise UserError(
            f"there is no command '{name}'{f' (did you mean {hint}?)' if hint else ''}; '{PROGRAM} --help' lists them"
        )
    command = COMMANDS[name]
    if name == "study" and not rest:
        raise UserError("study needs the name of a study, which 'relbench-pretrain configs studies' lists, or a file")
    if command.trainer or name == "study":
        first = next((place for place, arg in enumerate(rest) if arg.startswith("-")), len(rest))
        rest[:first] = [f"--config={arg}" for arg in rest[:first]]
    rest = resolve_configs(rest, name)
    from relbench_pretrain.commands.arguments import names_of_today, run_function
    from relbench_pretrain.progress import progress_shown

    rest = names_of_today(rest, name)
    with progress_shown():
        if command.trainer:
            command.load()(name, [name, *rest])
        else:
            usage = f"{PROGRAM} study NAME [--jobs N] [--output_dir FOLDER] [OPTIONS]" if name == "study" else None
            run_function(command.load(), f"{PROGRAM} {name}", rest, usage)


def _told(error: UserError | UnpicklingError) -> Exception:
    """Returns what is said in the place of torch's message on unsafe files, which advises to trust them."""
    if isinstance(error, UserError):
        return error
    from relbench_pretrain.pretrained.safe_loading import not_plain

    return not_plain("--ckpt_path", error)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PROGRAM)
    except PackageNotFoundError:
        return "(not installed)"
