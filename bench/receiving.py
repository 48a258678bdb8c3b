"""Receiving: C-STORE of 2 to 10 MB photographs over loopback, beside Orthanc and DCMTK's storescp.

DCMTK's storescu sends the same files to every receiver, in turns, over 1 association and over 8 at once. What
counts is the ratio to Orthanc in the same round; of several rounds the median is reported. facenorm answers
once the file is synced and its row committed. Orthanc syncs its files, but not every commit of its index;
storescp syncs nothing. "Busy" means that photographs are scored all the time: in the node's scoring process,
as in service, or beside Orthanc in a process of the same low priority. "storescp --ignore" keeps nothing and
shows what the sender could do.

    python -m bench.receiving [--files 16] [--rounds 5] [--generator NAME|FILE|none]
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from subprocess import run

import numpy as np

from bench.noise_photographs import LEAST_BYTES, write_photographs
from bench.receivers import (
    RunningReceiver,
    dcmtk_environment,
    missing_program,
    running_node,
    running_orthanc,
    running_storescp,
    scoring_process,
    storescu_command,
)
from bench.table import show
from models.catalog import GENERATOR

ASSOCIATIONS = (1, 8)
_SEND_SECONDS = 300
_LOG_CONFIG = """log4cplus.rootLogger = INFO, console
log4cplus.appender.console = log4cplus::ConsoleAppender
log4cplus.appender.console.layout = log4cplus::PatternLayout
log4cplus.appender.console.layout.ConversionPattern = %D{%Y-%m-%d %H:%M:%S.%Q} %m%n
"""
_LINE = re.compile(r"^(\S+ \S+) (Sending file|Received Store Response \(Success\))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Case:
    """A receiver and what else runs meanwhile: `load` scores beside it; with `scores` it does so itself."""

    name: str
    receiver: RunningReceiver
    load: RunningReceiver | None = None
    scores: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """One sending: objects and megabytes a second, seconds from each C-STORE's beginning to its response."""

    objects_per_second: float
    megabytes_per_second: float
    latencies: tuple[float, ...]


def measure(files: int = 16, rounds: int = 5, generator: str = GENERATOR) -> dict[str, object]:
    """Return rates and latencies by receiver and number of associations, and ratios to Orthanc.

    generator: what the busy scorer runs, a name or a weights file; "none" leaves the busy cases out.
    Raises RuntimeError where a peer's program is missing or an object was not acknowledged.
    """
    if missing := missing_program():
        raise RuntimeError(f"{missing} is not installed; `make peers` fetches it")
    with tempfile.TemporaryDirectory(prefix="facenorm-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        paths = write_photographs(folder / "photographs", files, studies=max(ASSOCIATIONS))
        cases = _cases(stack, folder, generator)
        results: dict[tuple[int, str], list[Sent]] = defaultdict(list)
        for number in range(rounds):
            # Every second round backwards, so that nobody always comes first.
            for associations in ASSOCIATIONS:
                for case in cases[:: -1 if number % 2 else 1]:
                    results[associations, case.name].append(_send(case, paths, associations, folder))
        _check_kept(cases, files * rounds * len(ASSOCIATIONS))
        megabytes = [path.stat().st_size / 1e6 for path in paths]
    return {
        "files": files,
        "rounds": rounds,
        "megabytes": {"least": round(min(megabytes), 1), "most": round(max(megabytes), 1)},
        "generator": generator,
        "by_associations": {
            str(n): {case.name: _figures(results, n, case.name) for case in cases} for n in ASSOCIATIONS
        },
    }


def rows(record: dict[str, object]) -> list[tuple[str, str]]:
    """Return the lines of the common table."""
    lines = []
    by_associations = record["by_associations"]
    assert isinstance(by_associations, dict)
    for associations, cases in by_associations.items():
        for name, figures in cases.items():
            text = f"{figures['objects_per_second']:.1f}/s, {figures['megabytes_per_second']:.0f} MB/s"
            text += f", p50 {figures['p50_ms']:.0f} ms, p95 {figures['p95_ms']:.0f} ms"
            if "ratio_to_orthanc" in figures:
                text += f", {figures['ratio_to_orthanc']:.2f} x Orthanc"
            lines.append((f"C-STORE, {associations} at once: {name}", text))
    return lines


def _cases(stack: ExitStack, folder: Path, generator: str) -> list[Case]:
    node = stack.enter_context(running_node(folder / "node"))
    orthanc = stack.enter_context(running_orthanc(folder / "orthanc"))
    storescp = stack.enter_context(running_storescp(folder / "storescp"))
    sink = stack.enter_context(running_storescp(folder / "sink", "--ignore"))
    cases = [
        Case("facenorm", node),
        Case("Orthanc", orthanc),
        Case("storescp", storescp),
        Case("storescp --ignore", sink),
    ]
    if generator != "none":
        busy = stack.enter_context(running_node(folder / "busy node", generator))
        busy.sleep()
        load = stack.enter_context(scoring_process(folder / "load", generator))
        cases += [Case("facenorm, busy", busy, scores=True), Case("Orthanc, busy", orthanc, load)]
    return cases


def _send(case: Case, paths: Sequence[Path], associations: int, folder: Path) -> Sent:
    log_config = folder / "log.cfg"
    log_config.write_text(_LOG_CONFIG)
    parts = [part for n in range(associations) if (part := paths[n::associations])]
    with (
        case.receiver.awake() if case.scores else nullcontext(),
        case.load.awake() if case.load else nullcontext(),
        ThreadPoolExecutor(len(parts)) as pool,
    ):
        scored = case.receiver.children_seconds()
        began = time.perf_counter()
        commands = [storescu_command(case.receiver, part, log_config) for part in parts]
        outputs = list(pool.map(_run, commands))
        seconds = time.perf_counter() - began
        scored = case.receiver.children_seconds() - scored
    if case.scores and not scored:
        raise RuntimeError("the node's scoring process does not score")
    if case.load and case.load.process.poll() is not None:
        raise RuntimeError("the process that scores beside the receivers has ended")
    latencies = [latency for output in outputs for latency in _latencies(output)]
    if len(latencies) != len(paths):
        raise RuntimeError(f"{case.name} acknowledged {len(latencies)} of {len(paths)} objects: {outputs[0]}")
    size = sum(path.stat().st_size for path in paths)
    return Sent(len(paths) / seconds, size / 1e6 / seconds, tuple(latencies))


def _run(command: Sequence[str]) -> str:
    finished = run(
        command, capture_output=True, text=True, timeout=_SEND_SECONDS, check=False, env=dcmtk_environment()
    )
    return finished.stdout + finished.stderr


def _latencies(output: str) -> list[float]:
    """Return seconds per acknowledged object, from storescu's timed log; reading the file is part of it."""
    found, began = [], None
    for at, what in _LINE.findall(output):
        # %Q has milliseconds and then microseconds after a point.
        moment = datetime.strptime(at[:23], "%Y-%m-%d %H:%M:%S.%f")
        if what == "Sending file":
            began = moment
        elif began is not None:
            found.append((moment - began).total_seconds())
    return found


def _figures(results: dict[tuple[int, str], list[Sent]], associations: int, name: str) -> dict[str, float]:
    sent = results[associations, name]
    latencies = [latency for one in sent for latency in one.latencies]
    figures = {
        "objects_per_second": round(statistics.median(s.objects_per_second for s in sent), 2),
        "megabytes_per_second": round(statistics.median(s.megabytes_per_second for s in sent), 1),
        "p50_ms": round(float(np.percentile(latencies, 50)) * 1000, 1),
        "p95_ms": round(float(np.percentile(latencies, 95)) * 1000, 1),
    }
    if name.startswith("facenorm"):
        beside = results[associations, "Orthanc, busy" if "busy" in name else "Orthanc"]
        ratios = [a.objects_per_second / b.objects_per_second for a, b in zip(sent, beside, strict=True)]
        figures["ratio_to_orthanc"] = round(statistics.median(ratios), 3)
    return figures


def _check_kept(cases: Sequence[Case], sent: int) -> None:
    """Raise RuntimeError unless every receiver that keeps anything holds all that was sent to it."""
    for case in cases:
        times = sum(other.receiver is case.receiver for other in cases)
        held = case.receiver.stored_files(LEAST_BYTES)
        if "--ignore" not in case.name and held != sent * times:
            raise RuntimeError(f"{case.name} holds {held} of {sent * times} objects")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--files", type=int, default=16, help="photographs a sending")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--generator", default=GENERATOR, help="of the busy scorer; none: not busy")
    options = arguments.parse_args()
    show("receiving", rows(measure(options.files, options.rounds, options.generator)))


if __name__ == "__main__":
    main()
