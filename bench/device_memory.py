"""What becomes of a batch of photographs when a GPU's memory runs out: real errors, not injected ones.

A ballast takes the GPU's memory up to so many gigabytes, then a batch is scored: it must come out in smaller
batches, or, where not even one photograph fits, as the fault that the service knows.

    python -m bench.device_memory [--free 40 8 3 0.3] [--batch 16]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bench.scoring_speed import photographs
from models.catalog import GENERATOR
from pipeline.batch_scoring import BatchScorer
from pipeline.computation import DeviceFaultError
from pipeline.result import Scored
from pipeline.scoring import build_scorer

_GIGABYTE = 2**30


def main() -> None:
    """Measure as the arguments say."""
    arguments = argparse.ArgumentParser(description="What a batch does when a GPU's memory runs out.")
    arguments.add_argument("--free", type=float, nargs="*", default=[40, 8, 3, 0.3], help="gigabytes left")
    arguments.add_argument("--batch", type=int, default=16)
    options = arguments.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here")
    pictures = photographs(None, options.batch)
    for free in options.free:
        print(f"{free:4.1f} GB free: {outcome(pictures, free, options.batch)}", flush=True)


def outcome(pictures: Sequence[NDArray[np.uint8]], free: float, batch: int) -> str:
    """Return in words what a new scorer made of the pictures with so many gigabytes left."""
    scorer = BatchScorer(build_scorer(GENERATOR, "fast", "cuda"), most_at_once=batch)
    torch.cuda.empty_cache()
    left, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(0, left - int(free * _GIGABYTE)), dtype=torch.uint8, device="cuda")
    try:
        results = scorer.score(pictures)
    except DeviceFaultError as error:
        return f"given up: {error.fault.value}"
    finally:
        del ballast
    scored = [one for one in results if isinstance(one, Scored)]
    sizes = sorted({one.score.computation.batch for one in scored if one.score.computation}, reverse=True)
    return (
        f"{len(scored)} of {len(pictures)} scored, in batches of {sizes}; at most {scorer.most_at_once} now"
    )


if __name__ == "__main__":
    main()
