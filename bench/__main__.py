"""`make bench`: how fast, how much memory, and how both grow; one table, one JSON file and one picture.

Figures are of this machine; the ratios, taken within the same run, are what counts. The parts, each with
options of its own (python -m bench.NAME --help):

    scoring_speed   seconds per photograph, beside the paper's plain loop
    receiving       C-STORE, beside Orthanc and DCMTK's storescp
    memory          peaks by stage, and flatness over many photographs
    growth          size, photographs per study, history, queue

    python -m bench [--only NAME] [--output FILE] [--picture FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from bench import growth, memory, receiving, scoring_speed
from bench.picture import draw
from bench.receivers import missing_program
from bench.table import show

PARTS: Mapping[str, ModuleType] = {
    "scoring_speed": scoring_speed,
    "receiving": receiving,
    "memory": memory,
    "growth": growth,
}


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--only", choices=PARTS, help="run one part; the others' figures are kept")
    arguments.add_argument("--output", type=Path, default=Path("bench/results/bench.json"))
    arguments.add_argument("--picture", type=Path, default=Path("bench/results/bench.png"))
    options = arguments.parse_args()
    chosen = [options.only] if options.only else list(PARTS)
    if "receiving" in chosen and (missing := missing_program()):
        arguments.exit(1, f"{missing} is not installed; `make peers` fetches it\n")
    records = kept(options.output) if options.only else {}
    for number, name in enumerate(chosen, 1):
        print(f"==> {name} ({number} of {len(chosen)})", flush=True)
        began = time.perf_counter()
        record = PARTS[name].measure()
        seconds = round(time.perf_counter() - began)
        records[name] = {**record, "date": datetime.now(UTC).date().isoformat(), "bench_seconds": seconds}
        print(f"    {seconds} s", flush=True)
        write(records, options.output)
    draw(records, options.picture)
    show("facenorm bench", *(PARTS[name].rows(records[name]) for name in chosen))
    print(f"written to {options.output} and {options.picture}")


def kept(path: Path) -> dict[str, dict[str, object]]:
    """Return the parts of an earlier bench, {} where there is none."""
    records: dict[str, dict[str, object]] = json.loads(path.read_text()) if path.exists() else {}
    return records


def write(records: Mapping[str, Mapping[str, object]], path: Path) -> None:
    """Write the figures of all parts so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
