"""The directive ``study``: what a folder of ``results/`` holds, for the page that says how to read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parents[2] / "results"
TABLES = ("summary.md", "experiments.md", "answers.md")
"""The table of a study that its page shows ; ``table.md`` beside them has the same in more detail."""


def markdown(name: str) -> str:
    """Returns a study's tables and plots as Markdown, as its page shows them.

    Raises:
        ValueError: If its folder has no table.
    """
    folder = RESULTS / name
    tables = [path.read_text().strip() for path in (folder / table for table in TABLES) if path.is_file()]
    if not tables:
        raise ValueError(f"results/{name} has none of {', '.join(TABLES)}")
    plots = [f"![{p.stem.replace('_', ' ')}](../../results/{name}/{p.name})" for p in sorted(folder.glob("*.png"))]
    return "\n\n".join(tables + plots)


class Study(SphinxDirective):
    """``{study} rel-f1`` shows the tables and plots of ``results/rel-f1``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parses the Markdown of the files in place, over the whole width of the page."""
        name = self.arguments[0]
        for path in (RESULTS / name).iterdir():
            self.env.note_dependency(str(path))
        self.env.metadata[self.env.docname]["hide-toc"] = True
        container = nodes.container(classes=["results"])
        lines = StringList(markdown(name).splitlines(), source=f"results/{name}")
        self.state.nested_parse(lines, self.content_offset, container)
        return [container]


def setup(app: Any) -> dict[str, bool]:
    """Adds the directive."""
    app.add_directive("study", Study)
    return {"parallel_read_safe": True}
