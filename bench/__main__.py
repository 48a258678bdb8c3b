"""`make bench`: the parts of the bench in turn, one table and one JSON file.

Figures are of this machine; the ratios, taken within the same run, are what counts.

    python -m bench [--only scoring_speed]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench import scoring_speed
from bench.table import show

PARTS = {"scoring_speed": scoring_speed}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--only", choices=PARTS, help="run one part")
    arguments.add_argument("--output", type=Path, default=Path("bench/results/bench.json"))
    options = arguments.parse_args()
    parts = {name: part for name, part in PARTS.items() if options.only in {None, name}}
    records = {name: part.measure() for name, part in parts.items()}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(records, indent=1) + "\n")
    show("facenorm bench", *(part.rows(records[name]) for name, part in parts.items()))


if __name__ == "__main__":
    main()
