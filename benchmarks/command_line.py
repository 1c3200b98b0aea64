"""How long each command takes to answer, beside the import of the libraries that it uses.

python benchmarks/command_line.py --repeats 3

Answers that need no library are compared with ``import lightning.pytorch``, all others with the imports of other
packages that they made. CPU seconds, the least of some repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys

from relbench_pretrain.cli import COMMANDS

FAST = ["--help", "--version", "configs", "configs contrastive/demo", "fti", "fit contrastive/dmeo"]
NAMED = ["fit --data.help", "fit --model.help MaskedModeling", "fit contrastive/demo --print_config"]
OWN = ("relbench_pretrain", "lightning_modules", "datamodules", "callbacks", "__main__")
LATER = {name: "relbench_pretrain.studies.results" for name in ("demo", "study")}
"""What a command imports only once its runs are done."""
USED = """
import json, sys
from relbench_pretrain.cli import main
try:
    main({args!r})
except SystemExit:
    pass
for name in {later!r}:
    __import__(name)
known = sys.stdlib_module_names | set({own!r})
print("\\n" + json.dumps([m for m in sys.modules if m.partition(".")[0] not in known and sys.modules[m].__spec__]))
"""
IMPORT = """
import importlib, json, sys
for name in json.loads(sys.stdin.read()):
    try:
        importlib.import_module(name)
    except Exception:
        pass  # a module that another one makes
"""


def cpu_seconds(command: list[str], stdin: str = "") -> float:
    """Returns the user and system time of a process and of those that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def both(words: str, imports: list[str], modules: str, repeats: int) -> tuple[float, float]:
    """Returns the least time of a command and of imports, which take turns, as other work on a machine does too."""
    command = [sys.executable, "-m", "relbench_pretrain", *words.split()]
    found = [(cpu_seconds(command), cpu_seconds(imports, modules)) for _ in range(repeats)]
    return min(taken for taken, _ in found), min(baseline for _, baseline in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("commands", nargs="*", help="what to time in place of all, each in quotes")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| command | CPU seconds | imports | ratio | libraries |\n| --- | --- | --- | --- | --- |")
    for words in args.commands or [*FAST, *(f"{name} --help" for name in COMMANDS if name != "configs"), *NAMED]:
        if words in FAST:
            imports, modules, libraries = "import lightning.pytorch", "", "none; beside lightning.pytorch"
        else:
            later = [LATER[command] for command in LATER if command in words.split()]
            code = USED.format(args=words.split(), own=OWN, later=later)
            out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            imports, modules = IMPORT, out.splitlines()[-1]
            large = sorted({m.partition(".")[0] for m in json.loads(modules)} & LARGE)
            libraries = ", ".join(large) or "jsonargparse"
        taken, baseline = both(words, [sys.executable, "-c", imports], modules, args.repeats)
        print(f"| {words} | {taken:.2f} | {baseline:.2f} | {taken / baseline:.2f} | {libraries} |", flush=True)


LARGE = {"lightning", "torch", "torch_geometric", "torch_frame", "relbench", "pandas", "numpy", "scipy", "matplotlib",
         "numba", "torchmetrics", "transformers", "duckdb", "sklearn", "networkx"}  # fmt: skip

if __name__ == "__main__":
    main()
