"""Makes all tables and plots of results/ from what is stored there: results.csv and study.json of every study.

Learning curves and other plots over training steps stay as they are, since they need the runs.

    python results/regenerate.py [FOLDER ...]
"""

import sys
from pathlib import Path

from relbench_pretrain.studies.presets import read_study
from relbench_pretrain.studies.results import read_results, write_report

if __name__ == "__main__":
    studies = [Path(name) for name in sys.argv[1:]] or sorted(Path(__file__).parent.glob("*/"))
    for folder in studies:
        if (folder / "study.json").is_file():
            write_report(read_study(folder / "study.json"), read_results(folder / "results.csv"), folder)
            print(folder)
