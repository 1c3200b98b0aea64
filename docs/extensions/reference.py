"""Writes the reference from the code: pages of the public packages, help texts of the commands, every option of YAML.

They land in ``reference/api``, ``reference/commands`` and ``reference/options``, which are no part of the sources.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import os
import pkgutil
import re
import typing
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from docstring_parser import DocstringStyle, parse

ROOT = Path(__file__).parents[2]
REFERENCE = Path(__file__).parents[1] / "reference"
PACKAGES = ("relbench_pretrain", "datamodules", "lightning_modules", "callbacks")
WIDTH = "100"


def public_packages() -> list[ModuleType]:
    """Returns the packages that export something, each before those inside it."""
    found = []
    for name in PACKAGES:
        package = importlib.import_module(name)
        inner = pkgutil.walk_packages(package.__path__, f"{name}.")
        modules = [package, *(importlib.import_module(info.name) for info in inner if info.ispkg)]
        found += [module for module in modules if getattr(module, "__all__", None)]
    return found


def first_sentence(text: str | None) -> str:
    """Returns the first sentence of a docstring on one line, empty where there is none."""
    paragraph = " ".join((inspect.cleandoc(text or "")).split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", paragraph)[0]


# --- pages of the packages


def api_page(package: ModuleType) -> str:
    """Returns a page in reStructuredText that lists what a package exports."""
    title = package.__name__
    names = "\n".join(f"   {name}" for name in sorted(package.__all__))
    return "\n".join(
        [
            title,
            "=" * len(title),
            "",
            f".. automodule:: {title}",
            "   :no-members:",
            "",
            ".. autosummary::",
            "   :toctree: generated",
            "   :nosignatures:",
            "",
            names,
            "",
        ]
    )


def api_index(packages: Iterable[ModuleType]) -> str:
    """Returns the page that leads to the packages, with a line on each."""
    packages = list(packages)
    rows = [f"| [{p.__name__}]({p.__name__}.rst) | {cell(first_sentence(p.__doc__))} |" for p in packages]
    return "\n".join(
        [
            "# Python packages",
            "",
            "What each package exports. The path under which a class is listed here is the one that YAML files, "
            "checkpoints and exported folders name.",
            "",
            "| package | contents |",
            "| --- | --- |",
            *rows,
            "",
            "```{toctree}",
            ":hidden:",
            "",
            *(p.__name__ for p in packages),
            "```",
            "",
        ]
    )


# --- help texts of the commands


def help_text(*arguments: str) -> str:
    """Returns what the command line prints for these arguments, without the places of this machine."""
    from relbench_pretrain.cli import main

    out, width = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with redirect_stdout(out), redirect_stderr(out):
            main(list(arguments))
    except SystemExit as end:
        if end.code not in (0, None):
            raise RuntimeError(f"relbench-pretrain {' '.join(arguments)} failed: {out.getvalue()}") from end
    finally:
        os.environ.pop("COLUMNS")
        if width is not None:
            os.environ["COLUMNS"] = width
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    return text.replace(str(ROOT), "…").replace(str(Path.home()), "~").rstrip()


def command_pages() -> dict[str, str]:
    """Returns a page for each command, and the page that leads to them."""
    from relbench_pretrain.cli import COMMANDS

    lines = {name: f"{command.summary}." for name, command in COMMANDS.items()}
    pages = {}
    for name in lines:
        text = help_text(name, "--help")
        pages[name] = f"# relbench-pretrain {name}\n\n{lines[name]}\n\n```text\n{text}\n```\n"
    rows = [f"| [`{name}`]({name}.md) | {cell(line)} |" for name, line in lines.items()]
    names = "\n".join(lines)
    pages["index"] = (
        "# Command line\n\nThe help texts of the commands, as they print them. The options of a model or of data "
        "depend on its class: `relbench-pretrain fit --data.help ForecastDataModule` prints them, and "
        "[the options of YAML](../options/index.md) lists them all.\n\n"
        "| command | what it does |\n| --- | --- |\n" + "\n".join(rows) + "\n\n"
        f"```text\n{help_text('--help')}\n```\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )
    return pages


# --- the options of YAML


def ours(value: Any) -> bool:
    """Whether a class is one of this project."""
    return inspect.isclass(value) and value.__module__.split(".")[0] in PACKAGES


def classes_in(annotation: Any) -> Iterator[type]:
    """Yields the classes of this project that stand in a type annotation."""
    if ours(annotation):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from classes_in(inner)


def hints(function: Any) -> dict[str, Any]:
    """Returns the types of a function's arguments, as text where they cannot be looked up."""
    try:
        return typing.get_type_hints(function)
    except NameError:
        return dict(getattr(function, "__annotations__", {}))


def options(cls: type) -> list[tuple[str, Any, Any, str]]:
    """Returns name, type, default and meaning of the arguments of a class or function; a base's come after its own."""
    target = cls.__init__ if inspect.isclass(cls) else cls
    types, written, told = hints(target), _lambdas(target), _meanings(cls)
    parameters = {name: p for name, p in inspect.signature(target).parameters.items() if name != "self"}
    handed_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    result = [
        (name, types.get(name, p.annotation), written.get(name, p.default), told.get(name, ""))
        for name, p in parameters.items()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if handed_on and inspect.isclass(cls):
        owner = next(kind for kind in cls.__mro__ if "__init__" in kind.__dict__)
        base = next((kind for kind in owner.__mro__[1:] if ours(kind) and "__init__" in kind.__dict__), None)
        result += [option for option in options(base) if option[0] not in parameters] if base else []
    return result


def _meanings(cls: type) -> dict[str, str]:
    """Returns what the docstrings of a class, of its bases and of their constructors say of arguments."""
    told: dict[str, str] = {}
    for base in reversed(inspect.getmro(cls) if inspect.isclass(cls) else [cls]):
        for holder in (base.__dict__.get("__init__") if inspect.isclass(base) else None, base):
            text = getattr(holder, "__doc__", None)
            if text and (not inspect.isclass(base) or ours(base)):
                told |= {p.arg_name: p.description or "" for p in parse(text, DocstringStyle.GOOGLE).params}
    return told


class Written(str):
    """A default as its source has it."""


def _lambdas(function: Any) -> dict[str, Written]:
    """Returns the defaults that are lambdas, such as an optimiser with its rate, as a reader would write them."""
    try:
        (node,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    arguments = getattr(node, "args", None)
    if arguments is None:
        return {}
    placed = [*arguments.posonlyargs, *arguments.args]
    with_default = placed[len(placed) - len(arguments.defaults) :]
    pairs = [
        *zip(with_default, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    found = {a.arg: ast.unparse(d.body) for a, d in pairs if isinstance(d, ast.Lambda)}
    return {name: Written(re.sub(r"\b(?:\w+\.)+(\w+\()", r"\1", text)) for name, text in found.items()}


def reachable(roots: Iterable[Any]) -> list[type]:
    """Returns the classes that the options of others ask for, with all that can stand in their place."""
    wanted, waiting, known = [], list(roots), set(roots)
    while waiting:
        for _, annotation, _, _ in options(waiting.pop(0)):
            for cls in classes_in(annotation):
                for part in [cls, *sorted(subclasses(cls), key=lambda other: other.__name__)]:
                    if part not in known:
                        known.add(part)
                        wanted.append(part)
                        waiting.append(part)
    return wanted


def subclasses(cls: type) -> set[type]:
    """Returns the public classes of this project that are made from a class, directly or not."""
    direct = {other for other in cls.__subclasses__() if ours(other) and not other.__name__.startswith("_")}
    return direct.union(*map(subclasses, direct))


def cell(text: str) -> str:
    """Returns text that can stand in a cell of a Markdown table."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"``\1``", " ".join(text.split()))
    parts = re.split(r"(``.+?``|`.+?`)", text)
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(r"([*_<>$\[\]])", r"\\\1", parts[number])
    return "".join(parts).replace("|", "\\|")


def type_text(annotation: Any) -> str:
    """Returns a type as people write it, without modules."""
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text).replace("NoneType", "None")


def default_text(default: Any) -> str:
    """Returns a default as YAML has it."""
    if default is inspect.Parameter.empty:
        return "needed"
    if isinstance(default, Written):
        return f"`{default}`"
    if default is None or isinstance(default, bool):
        return f"`{'null' if default is None else str(default).lower()}`"
    if isinstance(default, int | float | str | list | tuple | dict):
        text = str(list(default) if isinstance(default, tuple) else default)
        return f"`{text}`" if text else "`''`"
    if inspect.isclass(default):
        return f"`{default.__name__}`"
    return "built in" if inspect.isfunction(default) else f"`{type(default).__name__}()`"


def option_section(cls: type, path: str, heading: str = "##") -> str:
    """Returns the Markdown of one class: where it is, what it does, a row for each option."""
    lines = [f"{heading} {cls.__name__}", "", f"`{path}`", "", cell(first_sentence(cls.__doc__)), ""]
    rows = [
        f"| `{name}` | {cell(f'``{type_text(kind)}``') if type_text(kind) else ''} | {cell(default_text(default))} "
        f"| {cell(meaning)} |"
        for name, kind, default, meaning in options(cls)
    ]
    if rows:
        head = ["| option | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [":::{table}", ":class: options", "", *head, *rows, ":::", ""]
    else:
        lines += ["No options.", ""]
    return "\n".join(lines)


def option_pages() -> dict[str, str]:
    """Returns the pages of the options, by their names."""
    from relbench_pretrain.cli import COMMANDS

    groups = {
        "data": (
            "Data",
            "`data:` takes one of these under `class_path`, its options under `init_args`.",
            "datamodules",
        ),
        "model": ("Models", "`model:` takes one of these.", "lightning_modules"),
        "callbacks": ("Callbacks", "`trainer.callbacks` takes a list of these.", "callbacks"),
    }
    pages, roots = {}, []
    for name, (title, words, package) in groups.items():
        module = importlib.import_module(package)
        exported = [getattr(module, member) for member in module.__all__]
        members = [cls for cls in exported if inspect.isclass(cls) and not _is_error(cls)]
        roots += members
        pages[name] = _option_page(title, words, members)
    study = inspect.unwrap(COMMANDS["study"].load())
    pages["study"] = _option_page(
        "Studies",
        "The keys of a study file (`relbench-pretrain study FILE`).",
        [study, *(part for part in reachable([study]) if not inspect.isabstract(part))],
    )
    parts = [part for part in reachable(roots) if part not in roots and not _is_error(part)]
    for name, (title, words, belongs) in PART_PAGES.items():
        members = [part for part in parts if belongs(part.__module__)]
        pages[name] = _option_page(title, words, members)
    listed = "\n".join(pages)
    pages["index"] = (
        "# Options of YAML\n\nEvery option that a configuration file or the command line can set, from the signatures "
        "and docstrings of the classes. Options of the Trainer itself are "
        "[Lightning's](https://lightning.ai/docs/pytorch/stable/common/trainer.html). An option whose type is a class "
        "takes `class_path` and `init_args`, with any class that is listed under [the parts](parts-relational.md) or "
        "one of your own.\n\n"
        f"```{{toctree}}\n:maxdepth: 2\n\n{listed}\n```\n"
    )
    return pages


def _room(module: str) -> str:
    return module.split(".")[1] if module.startswith("relbench_pretrain.") else ""


PART_PAGES = {
    "parts-relational": (
        "Parts for databases",
        "Encoders, levels of the objectives, samplers, baselines.",
        lambda module: _room(module) not in ("knowledge_graph", "hypergraph"),
    ),
    "parts-knowledge-graph": (
        "Parts for knowledge graphs",
        "Rankers, features of pairs, networks of MRE.",
        lambda module: _room(module) == "knowledge_graph",
    ),
    "parts-hypergraph": (
        "Parts for hypergraphs",
        "Hypergraphs, samples, masks, read-outs, matchers.",
        lambda module: _room(module) == "hypergraph",
    ),
}
"""Where the classes stand that other options ask for: title, a line, and which modules they are from."""


def _is_error(cls: Any) -> bool:
    return inspect.isclass(cls) and issubclass(cls, Exception)


def _option_page(title: str, words: str, members: list[Any]) -> str:
    from relbench_pretrain.pretrained.config import class_path

    body = "\n".join(option_section(cls, class_path(cls)) for cls in members)
    return f"# {title}\n\n{words}\n\n{body}"


def write(folder: Path, pages: dict[str, str], suffix: str) -> None:
    """Writes pages that have changed and removes those that are no longer there, so that Sphinx reads little again."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*{suffix}"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}{suffix}"
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def generate(_app: Any, config: Any) -> None:
    """Writes all pages of the reference, and tells autosummary which of them list classes and functions."""
    packages = public_packages()
    write(REFERENCE / "api", {package.__name__: api_page(package) for package in packages}, ".rst")
    write(REFERENCE / "api", {"index": api_index(packages)}, ".md")
    write(REFERENCE / "commands", command_pages(), ".md")
    write(REFERENCE / "options", option_pages(), ".md")
    listed = {f"{package.__name__}.{name}" for package in packages for name in package.__all__}
    for stub in (REFERENCE / "api" / "generated").glob("*.rst"):
        if stub.stem not in listed:
            stub.unlink()
    config.autosummary_generate = [f"reference/api/{package.__name__}.rst" for package in packages]


def setup(app: Any) -> dict[str, bool]:
    """Writes the pages before Sphinx looks for files."""
    app.connect("config-inited", generate)
    return {"parallel_read_safe": True}
