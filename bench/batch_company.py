"""Whether a score depends on who shares its batch, and on how many do.

Photographs are scored alone, then in batches in two orders: each has other company and another place.
Between the two orders nothing may differ, to the last bit; against alone, how far scores move is measured.

    python -m bench.batch_company [--photos DIR] [--count 8] [--batch 4] [--device cuda]
        [--record bench/results/batch_company.json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.scoring_speed import device_name, photographs
from models.catalog import GENERATOR
from pipeline.batch_scoring import BatchScorer
from pipeline.result import Rejection, Scored
from pipeline.scoring import build_scorer


def main() -> None:
    """Measure as the arguments say."""
    arguments = argparse.ArgumentParser(description="Whether scores depend on the batch.")
    arguments.add_argument("--photos", type=Path, metavar="DIR", help="else faces are drawn")
    arguments.add_argument("--count", type=int, default=8, help="photographs, a multiple of the batch")
    arguments.add_argument("--batch", type=int, default=4)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--record", type=Path, metavar="FILE")
    options = arguments.parse_args()
    if options.batch < 2 or options.count % options.batch:
        arguments.error("--count must be a multiple of --batch, which must be 2 or more")
    record = compare(options.photos, options.count, options.batch, options.device)
    print(json.dumps(record, indent=2))
    if options.record:
        options.record.write_text(json.dumps(record, indent=2) + "\n")


def compare(photos: Path | None, count: int, batch: int, device: str) -> dict[str, object]:
    """Return the figures of so many photographs, in points where they are of scores."""
    scorer = build_scorer(GENERATOR, "fast", device)
    together = BatchScorer(scorer, most_at_once=batch)
    pictures = photographs(photos, count)
    if len(pictures) < count:
        raise SystemExit(f"{count} photographs are wanted, and {len(pictures)} .jpg files are there")
    alone = [_scored(scorer.score(picture)) for picture in pictures]
    print("alone: done", flush=True)
    forth = _in_batches(together, pictures, batch)
    print("in order: done", flush=True)
    back = _in_batches(together, pictures[::-1], batch)[::-1]
    moved = [abs(a.score.value - b.score.value) for a, b in zip(alone, forth, strict=True)]
    return {
        "device": device_name(device),
        "photographs": count,
        "batch": batch,
        "same_to_the_last_bit_in_other_company": sum(map(_same, forth, back)),
        "greatest_difference_in_other_company": max(
            abs(a.score.value - b.score.value) for a, b in zip(forth, back, strict=True)
        ),
        "mean_difference_to_alone": round(float(np.mean(moved)), 3),
        "greatest_difference_to_alone": round(max(moved), 3),
        "mean_uncertainty": round(float(np.mean([one.score.uncertainty for one in alone])), 3),
    }


def _in_batches(together: BatchScorer, pictures: Sequence[NDArray[np.uint8]], batch: int) -> list[Scored]:
    found = [together.score(pictures[start : start + batch]) for start in range(0, len(pictures), batch)]
    return [_scored(one) for part in found for one in part]


def _scored(result: Scored | Rejection) -> Scored:
    if isinstance(result, Rejection):
        raise SystemExit(f"a photograph was rejected ({result.reason.value}); choose others")
    return result


def _same(one: Scored, other: Scored) -> bool:
    """Whether features and pictures are equal to the last bit."""
    a, b = one.score, other.score
    return (a.value, a.features, dict(a.local_features)) == (
        b.value,
        b.features,
        dict(b.local_features),
    ) and bool((one.images.normalized == other.images.normalized).all())


if __name__ == "__main__":
    main()
