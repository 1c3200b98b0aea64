"""The shipped configurations: found by name, listed, and suggested when a name is mistyped.

Nothing but the standard library is imported here, so that these answers come at once.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from relbench_pretrain.errors import UserError

CONFIGS = Path(__file__).parents[1] / "configs"
EXPERIMENTS = CONFIGS / "experiment"
GROUPS = {
    "experiment": "Experiments: relbench-pretrain fit --config NAME",
    "studies": "Studies of many runs: relbench-pretrain study NAME",
    "sweeps": "Sweeps of Weights & Biases: wandb sweep FILE, where 'configs NAME' prints the file's place",
    "model": "Models, for your own configuration: --model NAME.yaml",
    "trainer": "Trainers: --trainer NAME.yaml",
    "logger": "Loggers: --trainer.logger NAME.yaml",
    "hardware": "Hardware: --config NAME after that of the experiment",
}
"""The folders of configurations, with how to use what is in them."""
FIELDS = ("Needs", "Hardware", "Time", "Expected")
"""The lines of a header beside its purpose; experiments and studies have all but the first."""
USAGE = """\
usage: relbench-pretrain configs [NAME]

Lists the shipped configurations: what each does, on which hardware and how long it takes.
With a NAME it prints that one; with the beginning of names, such as 'zero_shot', it lists these.

options:
  -h, --help  Show this help message and exit.
"""


class ShippedConfig(NamedTuple):
    """A configuration that comes with the package.

    Args:
        name: What it is called on the command line.
        group: Its folder among :data:`GROUPS`.
        path: Its file.
        purpose: What it does.
        fields: What else its header says, by :data:`FIELDS`.
    """

    name: str
    group: str
    path: Path
    purpose: str
    fields: dict[str, str]


def shipped_configs() -> Iterator[ShippedConfig]:
    """Yields all configurations, group by group."""
    for group in GROUPS:
        for path in sorted((CONFIGS / group).rglob("*.yaml")):
            base = EXPERIMENTS if group == "experiment" else CONFIGS
            yield ShippedConfig(path.relative_to(base).with_suffix("").as_posix(), group, path, *read_header(path))


def read_header(path: Path) -> tuple[str, dict[str, str]]:
    """Returns the purpose of a configuration, and what else the comment at its beginning says."""
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").rstrip()
        if found := re.match(rf"({'|'.join(FIELDS)}): ", text):
            current, text = found[1], text[found.end() :]
        parts.setdefault(current, []).append(text)
    joined = {name: " ".join(lines) for name, lines in parts.items()}
    return joined.pop(""), joined


def configs(args: Sequence[str]) -> None:
    """Lists the shipped configurations, or prints one.

    Args:
        args: Nothing, a name, or the beginning of names.

    Raises:
        UserError: If there is none of that name.
    """
    if "-h" in args or "--help" in args:
        print(USAGE, end="")
        return
    if len(args) > 1 or (args and args[0].startswith("-")):
        raise UserError(f"'relbench-pretrain configs' takes one name at most, not '{' '.join(args)}'")
    wanted = args[0].removesuffix(".yaml").removeprefix("experiment/").rstrip("/") if args else ""
    every = list(shipped_configs())
    if one := next((config for config in every if config.name == wanted), None):
        print(f"# {one.path}\n{one.path.read_text(encoding='utf-8')}", end="")
        return
    some = [config for config in every if not wanted or wanted in (config.group, *_folders(config.name))]
    if not some:
        raise UserError(_unknown(wanted, every))
    print(_listing(some))


def _folders(name: str) -> Sequence[str]:
    return [parent.as_posix() for parent in Path(name).parents]


def _listing(found: Sequence[ShippedConfig]) -> str:
    width = min(shutil.get_terminal_size().columns, 100)
    lines: list[str] = []
    for group, title in GROUPS.items():
        members = [config for config in found if config.group == group]
        lines += ["", *textwrap.wrap(title, width), ""] if members else []
        for config in members:
            about = [config.fields[key].rstrip(".") for key in ("Hardware", "Time") if key in config.fields]
            about[1:] = [time[0].lower() + time[1:] for time in about[1:]]
            sentence = re.split(r"(?<=[.?]) (?=[A-Z])", config.purpose)[0]
            lines.append(f"  {config.name}" + (f"  ({'; '.join(about)})" if about else ""))
            lines += textwrap.wrap(sentence, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    more = "'relbench-pretrain configs NAME' prints one, with what it needs and what to expect of it."
    return "\n".join([*lines[1:], "", more])


def resolve_configs(args: Sequence[str], command: str = "fit") -> list[str]:
    """Replaces names of shipped files by their paths; files that exist go first.

    They are experiments after ``--config``, or studies for ``study``, and parts such as ``logger/wandb.yaml`` after
    any option.

    Args:
        args: What was typed.
        command: Whose arguments they are.

    Raises:
        UserError: If a file is neither there nor shipped; it names the nearest ones.
    """
    resolved = []
    for i, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if arg.startswith("-") and equals:
            arg = f"{option}={_shipped(value, option == '--config', command)}"
        elif i > 0 and args[i - 1].startswith("-"):
            arg = _shipped(arg, args[i - 1] in ("--config", "-c"), command)
        resolved.append(arg)
    return resolved


def _shipped(name: str, config: bool, command: str) -> str:
    if not name or Path(name).is_file():
        return name
    bases = [CONFIGS / "studies" if command == "study" else EXPERIMENTS, CONFIGS] if config else [CONFIGS]
    places = [base / f"{name.removesuffix('.yaml')}.yaml" for base in bases]
    if config or name.endswith(".yaml"):
        if found := next((path for path in places if path.is_file()), None):
            return str(found)
        meant = name.partition("/")[0] in GROUPS if not config else not re.search(r"[:{\n]", name)
        if meant:  # and not YAML itself, the address of a file elsewhere, or a value that happens to look like a file
            of_runs = "studies" if command == "study" else "experiment"
            fitting = [found for found in shipped_configs() if found.group not in {"studies", "sweeps"} - {of_runs}]
            raise UserError(_unknown(name.removesuffix(".yaml"), fitting, command))
    return name


def _unknown(name: str, every: Iterable[ShippedConfig], command: str = "fit") -> str:
    names = [config.name for config in every]
    if command == "study":
        names = [*(name.removeprefix("studies/") for name in names if name.startswith("studies/")), *names]
    hint = nearest(name, names)
    return (
        f"there is no configuration '{name}', neither a file nor shipped"
        f"{f' (did you mean {hint}?)' if hint else ''}; 'relbench-pretrain configs' lists those that are"
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns the names that one is closest to, quoted and joined by "or"; empty where none is close."""
    names = list(names)
    lasts = [other.rpartition("/")[2] for other in names]
    alike = get_close_matches(name.rpartition("/")[2], lasts, n=1, cutoff=0.75) if "/" not in name else []
    alike = [other for other, last in zip(names, lasts, strict=True) if last in alike]
    found = list(dict.fromkeys([*get_close_matches(name, names, n=2, cutoff=0.6), *alike]))
    return " or ".join(f"'{other}'" for other in found[:4])
