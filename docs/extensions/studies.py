"""The directive ``study``: what a folder of ``results/`` holds, for the page that says how to read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parents[2] / "results"
TABLES = ("summary.md", "experiments.md", "answers.md")
"""The table of a study that its page shows first; ``table.md`` has the same in more detail."""


def blocks(name: str) -> list[tuple[str, str]]:
    """Returns a study's tables as pairs of a heading and Markdown.

    Raises:
        ValueError: If the folder has none.
    """
    folder = RESULTS / name
    shown = [(path.stem, path.read_text()) for path in (folder / table for table in TABLES) if path.is_file()]
    if not shown:
        raise ValueError(f"results/{name} has none of {', '.join(TABLES)}")
    return shown


def plots(name: str) -> list[Path]:
    """Returns a study's plots, sorted."""
    return sorted((RESULTS / name).glob("*.png"))


def study_file(name: str) -> dict[str, Any]:
    """Returns the stored definition of a study, empty where there is none."""
    path = RESULTS / name / "study.json"
    return json.loads(path.read_text()) if path.is_file() else {}


class Study(SphinxDirective):
    """``{study} rel-f1`` shows tables and plots; ``:show: tables`` or ``plots`` only these."""

    required_arguments = 1
    option_spec = {"show": lambda value: directives.choice(value, ("tables", "plots", "details"))}

    def run(self) -> list[nodes.Node]:
        """Parses the Markdown of the files in place."""
        name, show = self.arguments[0], self.options.get("show")
        if show == "details":
            text = (RESULTS / name / "table.md").read_text()
            return [self._parse(name, text)]
        parts = []
        if show != "plots":
            parts += [text.strip() for _, text in blocks(name)]
        if show != "tables":
            parts += [
                f"![{path.stem.replace('_', ' ')} of {name}](../../results/{name}/{path.name})" for path in plots(name)
            ]
        return [self._parse(name, "\n\n".join(parts))]

    def _parse(self, name: str, text: str) -> nodes.Node:
        for path in (RESULTS / name).iterdir():
            self.env.note_dependency(str(path))
        container = nodes.container(classes=["results"])
        self.state.nested_parse(StringList(text.splitlines(), source=f"results/{name}"), self.content_offset, container)
        return container


def setup(app: Any) -> dict[str, bool]:
    """Adds the directive."""
    app.add_directive("study", Study)
    return {"parallel_read_safe": True}
