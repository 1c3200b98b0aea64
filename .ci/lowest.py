"""Prints constraints with the lowest version that pyproject.toml allows of each direct dependency.

torch stays at the version of constraints.txt, as older builds for a CPU are not to be had everywhere; so do the
linters, which are run with their pinned versions only.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEEP = ("torch",)
CHECKERS = ("ruff", "mypy")


def lowest() -> list[str]:
    """Returns a line ``name==version`` for every dependency with a lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    lines = set()
    for text in wanted:
        found = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", text)
        if found is None:
            continue
        name, version = found.groups()
        if name in KEEP + CHECKERS:
            version = pinned[name]
        lines.add(f"{name}=={version}")
    return sorted(lines, key=str.lower)


if __name__ == "__main__":
    print("\n".join(lowest()))
