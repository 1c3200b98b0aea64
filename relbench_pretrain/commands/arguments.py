"""Reading the arguments of a command: short errors, and names of earlier versions."""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml
from jsonargparse import ArgumentParser, auto_cli, get_loader, set_loader

from relbench_pretrain.commands.configs import nearest
from relbench_pretrain.errors import UserError
from relbench_pretrain.renamed import RenamedWarning, translated, translated_arguments

PACKAGES = ("callbacks", "datamodules", "lightning_modules", "relbench_pretrain")


class BriefErrors:
    """Makes an argument parser say what is wrong in place of its usage, which fills a screen."""

    program: ClassVar[str] = "relbench-pretrain"

    def __init__(self, *args: Any, prog: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, prog=prog or self.program, **kwargs)  # type: ignore[call-arg]

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Returns the help text without the markup of docstrings."""
        text = super().format_help(*args, **kwargs).replace("``", "'")  # type: ignore[misc]
        return re.sub(r":\w+:`~?([^`]+)`", r"\1", text)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # type: ignore[misc]
        """Prints the message with the nearest name where one is mistyped, and ends with code 2."""
        if not self.exit_on_error:  # type: ignore[attr-defined]
            super().error(message, ex)  # type: ignore[misc]
        parser: Any = getattr(ex, "subcommand_parser", None) or self
        found = re.search(r'Parser key "(data|model)":(?s:.*?)class_path \'[\w.]+\.(\w+)\'', message)
        more = f"{found[1]}.help {found[2]}" if found else "help"
        print(f"tip: '{self.program} --{more}' explains all arguments", file=sys.stderr)
        print(f"error: {_condensed(message)}{_did_you_mean(message, parser)}", file=sys.stderr)
        self.exit(2)  # type: ignore[attr-defined]


NOISE = re.compile(
    r"(?:- )?Does not validate against any of the Union|Subtypes: |Errors:|- Expected a <class 'NoneType'>$"
    r"|Given value type: |Given value: NestedArg|- Expected a path but .* either not accessible or invalid$"
)
"""Lines of jsonargparse's messages about how it tried, not about what is wrong."""


def _condensed(message: str) -> str:
    """Returns a message without what the parser tried in vain."""
    if needed := re.search(r"arguments are required: (\w+)\.(data|model)\b", message):
        what = "NAME, which 'relbench-pretrain configs' lists, or a file" if needed[1] == "fit" else "RUN/config.yaml"
        return f"{needed[1]} needs to know the data and the model: give --config {what}"
    lines = [line for line in message.splitlines() if line.strip() and not NOISE.match(line.strip())]
    return "\n".join(lines) or message


def _did_you_mean(message: str, parser: ArgumentParser) -> str:
    if found := re.search(r"[Uu]nrecognized arguments: (--[\w.]+)", message):
        hint = nearest(found[1], parser._option_string_actions)
    elif found := re.search(r"class_path '([\w.]+)':\s+Option '(\w+)' is not accepted", message):
        module, _, name = found[1].rpartition(".")
        taken = getattr(sys.modules.get(module), name, None)
        hint = nearest(found[2], inspect.signature(taken).parameters) if taken else ""
    elif found := re.search(r"Expected a dot import path string: (\w+)", message):
        hint = nearest(found[1], _exported())
    elif found := re.search(r"does not accept option '(\w+)'", message):
        hint = nearest(found[1], {action.dest.partition(".")[0] for action in parser._actions})
    else:
        hint = ""
    return f" (did you mean {hint}?)" if hint else ""


def _exported() -> list[str]:
    """Returns the names of all classes and functions of this project that are imported."""
    ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES]
    return [name for module in ours for name in getattr(module, "__all__", ())]


class BriefParser(BriefErrors, ArgumentParser):
    """The parser of commands that are functions."""


def run_function(function: Callable[..., None], program: str, args: Sequence[str], usage: str | None = None) -> None:
    """Runs a function whose arguments are those of the command line; those without a default are given by place.

    Args:
        function: The command.
        program: What was typed up to its arguments.
        args: The arguments.
        usage: The line that says so, where a configuration is what is given by place; all else by name then.
    """
    parser = type("Parser", (BriefParser,), {"program": program})
    auto_cli(function, args=list(args), parser_class=parser, as_positional=usage is None, usage=usage)


_read = get_loader("yaml")
_shown = warnings.showwarning


def names_of_today(args: Sequence[str], command: str = "fit") -> list[str]:
    """Translates names of earlier versions: on the command line, and in whatever YAML is read after it.

    Args:
        args: What was typed, with the paths of configurations.
        command: Whose arguments they are.
    """
    classes, given = sections(args)

    def load(text: str) -> Any:
        value = _read(text)
        return translated(value, given) if isinstance(value, dict | list) else value

    set_loader("yaml", load, (yaml.YAMLError,))
    warnings.showwarning = _show
    return translated_arguments(args, classes, given, _read, command)


def sections(args: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """Returns the classes that a command's arguments and configurations name, and which arguments are given.

    Args:
        args: What was typed.

    Returns:
        The class of ``data`` and ``model``, where one is named; and the names of the arguments of either.
    """
    given = {arg.partition("=")[0].rstrip("+").replace(".init_args", "") for arg in args if arg.startswith("--")}
    classes: dict[str, str] = {}
    names = {option.split(".")[1] for option in given if "." in option}
    for before, argument in zip(["", *args], args, strict=False):
        option, equals, value = argument.partition("=")
        option, value = (option, value) if equals and argument.startswith("--") else (before, argument)
        if option in ("--data", "--model") and not value.endswith(".yaml"):
            classes[option.lstrip("-")] = value
        elif option in ("--config", "-c", "--data", "--model") and Path(value).is_file():
            config = _yaml(Path(value))
            found = {option.lstrip("-"): config} if option in ("--data", "--model") else config
            for section in ("data", "model"):
                part = found.get(section) if isinstance(found, dict) else None
                if isinstance(part, str) and (Path(value).parent / part).is_file():
                    part = _yaml(Path(value).parent / part)
                if isinstance(part, dict):
                    names |= {name for name, value in (part.get("init_args") or {}).items() if value is not None}
                    part = part.get("class_path")
                if isinstance(part, str):
                    classes[section] = part
    return classes, names


def _yaml(path: Path) -> Any:
    """Reads a file for a first look.

    Raises:
        UserError: If it is no YAML; the parser's own message would not name the file.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"'{path}' cannot be read as YAML: {' '.join(str(error).split())}") from error


def _show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
    """Shows a warning about a name in one line."""
    if issubclass(category, RenamedWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        _shown(message, category, *rest, **more)
