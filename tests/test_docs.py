"""The book and the README: every command works as it stands, and every study has its page."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from relbench_pretrain.cli import CONFIGS, main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GENERATED = ("reference/api", "reference/commands", "reference/options")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(p for p in sorted(DOCS.rglob("*.md")) if not p.relative_to(DOCS).as_posix().startswith(GENERATED)),
]
STORIES = [
    *(page for page in PAGES if page.parent.name == "tutorials" and page.stem != "index"),
    DOCS / "get-started" / "first-run.md",
    DOCS / "contributing" / "encoder.md",
]
"""Pages whose commands build on each other: they are run from top to bottom."""

SHORT = {"first-run", "encoder"}
"""Stories of the default suite: together they have a command of most kinds; the others are slow."""

FOLDERS = ("benchmarks", "relbench_pretrain", "callbacks", "lightning_modules", "datamodules", "tests")
QUICK = [
    "--trainer.max_steps=1",
    "--trainer.val_check_interval=1",
    "--trainer.limit_val_batches=1",
    "--trainer.enable_progress_bar=false",
]
SMALL_POOLS = ["--data.pool_queries=4", "--data.pool_negatives=40", "--data.negatives_per_query=40"]


class Block(NamedTuple):
    """A fenced block: its language, its text, and the file that the sentence before it says to save it as."""

    language: str
    text: str
    file: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        before = text[: found.start()].rstrip().rsplit("\n\n", 1)[-1]
        saved = re.search(r"Save this as `([\w.]+)`", before)
        yield Block(found[1], found[2], saved[1] if saved else None)


def commands(block: Block) -> list[list[str]]:
    if block.language != "sh":
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def all_commands(page: Path) -> list[list[str]]:
    return [words for block in blocks(page) for words in commands(block)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix().replace("docs/", "")


def arguments(words: list[str], data: Path) -> list[str]:
    """Returns what follows the program's name, with the real place of the data."""
    start = words.index("relbench_pretrain" if "relbench_pretrain" in words else "relbench-pretrain") + 1
    return [word.replace("../shared/data", str(data)) for word in words[start:]]


def is_ours(words: list[str]) -> bool:
    return words[0] == "relbench-pretrain" or words[1:3] == ["-m", "relbench_pretrain"] or words[0] == "torchrun"


def quick(args: list[str]) -> list[str]:
    """Adds what keeps a command to a step and a batch."""
    kind = args[0]
    configs = [word.split("/")[0] for option, word in pairwise(args) if option == "--config"]
    if kind == "make-demo":
        return [*args, "--num_rows=2000"]
    if kind == "demo":
        return [*args, "--steps=1", "--epochs=1"]
    if kind not in ("fit", "test", "predict"):
        return args
    if kind == "fit":
        args = [*args, *QUICK]
    if kind == "predict":
        args = [*args, "--trainer.limit_predict_batches=1"]
    if kind == "test" or "--test_after_fit" in args:
        args = [*args, "--trainer.limit_test_batches=1"]
    if "hypergraph" in configs:
        args = [*args, "--data.num_samples=10000"]
    if "zero_shot" in configs and not any("mre" in word for word in args):
        args = [*args, *SMALL_POOLS]
    if "--data.dataset" not in args and not {"zero_shot", "hypergraph"} & set(configs):
        args = [*args, "--data.dataset=demo:2000"]
    return args


def run(args: list[str]) -> None:
    """Runs a command in this process; studies, which take hours, only as far as their configuration."""
    if args[0] == "study" and "--print_config" not in args:
        args = [*args, "--print_config"]
    if args[0] == "baseline":
        pytest.importorskip("lightgbm")
    if "--print_config" not in args:
        main(args)
        return
    with pytest.raises(SystemExit) as end:
        main(args)
    assert end.value.code in (0, None), f"{args} ended with {end.value.code}"


@pytest.fixture
def data_folder(tmp_path) -> Path:
    """The folder of real databases, where it is at hand."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return folder


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=name_of(p), marks=[] if p.stem in SHORT else [pytest.mark.slow]) for p in STORIES]
)
def test_a_story_can_be_followed(page, run_in, data_folder, monkeypatch, wandb_offline):
    before = dict(os.environ)
    for block in blocks(page):
        if block.file is not None:
            Path(block.file).write_text(block.text)
        elif block.language == "python":
            exec(block.text, {})
        for words in commands(block):
            if words[0] == "export":
                for name, value in (word.split("=", 1) for word in words[1:]):
                    monkeypatch.setenv(name, value)
                monkeypatch.syspath_prepend(str(run_in))
            elif words[0] != "torchrun":
                run(quick(arguments(words, data_folder)))
    assert list(run_in.iterdir()), "nothing was written"
    for name in set(os.environ) - set(before):
        monkeypatch.delenv(name)
    for module in [m for m in sys.modules if m.startswith("my_")]:
        del sys.modules[module]


COMMANDS = [
    pytest.param(words, id=f"{name_of(page)}-{number}")
    for page in PAGES
    if page not in STORIES
    for number, words in enumerate(all_commands(page))
    if is_ours(words)
]


def test_every_other_command_is_understood(run_in, data_folder, capsys):
    assert len(COMMANDS) > 30
    for parameter in COMMANDS:
        args = [word for word in arguments(*parameter.values, data_folder) if word != "--print_config"]
        run([*args, "--print_config"])
        capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("words", [p for p in COMMANDS if p.values[0][1] in ("fit", "demo", "baseline", "ask")])
def test_every_other_command_runs(words, run_in, data_folder, wandb_offline):
    args = quick(arguments(words, data_folder))
    if "--model.checkpoint" in args:  # of the command before it
        run(["fit", "--config=contrastive/demo.yaml", "--data.dataset=demo:2000", *QUICK])
    run(args)


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
def test_what_a_page_names_is_there(page):
    text = page.read_text()
    for words in all_commands(page):
        if words[0] == "make":
            targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
            assert words[1] in targets
        elif words[0] == "python" and words[1] != "-m":
            assert (ROOT / words[1]).is_file()
        for option, word in pairwise(words):
            if option == "--config" and word.startswith("studies/"):
                assert (CONFIGS / word).is_file()
    for block in blocks(page):
        if block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict)
    for place in re.findall(
        r"`((?:benchmarks|relbench_pretrain|callbacks|lightning_modules|datamodules|tests)/[^`*]*)`", text
    ):
        if not re.search(r"NAME|TASK|…", place):
            assert (ROOT / place).exists(), f"{page.name} names {place}"
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#:\s]+)\)", prose):
        if re.search(r"reference/(api|commands|options)/", target):
            continue  # made with the book, whose build fails where there is none
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_study_has_its_page_and_every_page_its_study():
    studies = {folder.name for folder in (ROOT / "results").iterdir() if folder.is_dir()}
    pages = {page.stem: page.read_text() for page in (DOCS / "results").glob("*.md")}
    assert studies == set(pages) - {"index", "speed"}
    for name in studies:
        assert f":::{{study}} {name}\n" in pages[name]
        assert "## How to read it" in pages[name]
        assert "```sh\nrelbench-pretrain" in pages[name]
        assert f"\n{name}\n" in pages["index"], f"{name} is not in the table of contents of the results"


def test_tables_and_plots_of_a_page_are_those_of_its_folder(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    studies = pytest.importorskip("studies")
    for folder in (ROOT / "results").glob("*/"):
        text = studies.markdown(folder.name)
        tables = [path for path in folder.glob("*.md") if path.name != "table.md"]
        assert tables
        assert all(path.read_text().strip() in text for path in tables), folder.name
        assert all(path.name in text for path in folder.glob("*.png")), folder.name


def test_the_readme_is_a_page():
    readme = (ROOT / "README.md").read_text()
    assert len(readme) <= 12_000
    tables = re.findall(r"<!-- (results/\S+) -->\n(.*?)\n<!-- end -->", readme, flags=re.DOTALL)
    assert tables
    for path, text in tables:
        lines = (ROOT / path).read_text().splitlines()
        assert all(line in lines for line in text.strip().splitlines()), f"{path} has changed: copy its lines"


def test_options_that_pages_name_exist(monkeypatch):
    import datamodules
    import lightning_modules

    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    reference = pytest.importorskip("reference")
    for section, package in (("data", datamodules), ("model", lightning_modules)):
        kinds = [getattr(package, kind) for kind in package.__all__]
        options = {name for kind in kinds for name, *_ in reference.options(kind)}
        for page in PAGES:
            named = set(re.findall(rf"`{section}\.(\w+)[\w.]*`", page.read_text()))
            assert named <= options, f"{page.name} names {named - options} of {section}"
