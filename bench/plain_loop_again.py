"""Does the plain loop agree with itself? The `reference` profile once more, beside what it gave before.

`bench.compare_profiles` asks for scores of `fast` that agree with those of `reference`; how far could any
profile's, when `reference` is held against itself? The same photographs are normalized again with another
seed (and rounding, where another machine computed the first), without the raw inversion, which no feature of
the regressor looks at. A finished photograph is kept in --folder, so the command may be interrupted.

    python -m bench.plain_loop_again --photos DIR [--faces 12] [--output bench/results/plain_loop_again.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.compare_profiles import Bench, add_photo_arguments, agreement, load_bench, picture, tensors
from bench.table import show
from models.regressor import load_regressor
from pipeline.descent import descend, row_generators
from pipeline.kept_measurements import averaged_features
from pipeline.latents import Latents
from pipeline.locating import AlignedFace
from pipeline.plain_loop import objective_for
from pipeline.profile import Profile

_SEED = 1


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_photo_arguments(arguments, faces=12)
    arguments.add_argument("--folder", type=Path, default=Path("out/plain_loop_again"))
    arguments.add_argument("--before", type=Path, default=Path("bench/results/compare_profiles.json"))
    arguments.add_argument("--output", type=Path, default=Path("bench/results/plain_loop_again.json"))
    options = arguments.parse_args()
    bench = load_bench(_SEED)
    profile = Profile.from_card(bench.generator.card.profiles["reference"])
    before = json.loads(options.before.read_text())["photographs"]
    options.folder.mkdir(parents=True, exist_ok=True)
    again = [
        scored_again(bench, picture(bench, n, options), profile, options.folder / f"{n:04d}.safetensors")
        for n in track(range(options.faces), description="Photographs")
    ]
    record = agreements(again, before[: len(again)])
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    show("agreement of scores", [(name, str(value)) for name, value in record.items()])


def scored_again(bench: Bench, face: AlignedFace, profile: Profile, kept: Path) -> float:
    """Return the score of one photograph, normalized by the plain loop unless `kept` holds what it found."""
    if not kept.exists():
        save_file({"w_norm": normalized(bench, face, profile)}, kept.with_suffix(".part"))
        kept.with_suffix(".part").rename(kept)
    w_norm = load_file(kept)["w_norm"]
    # The raw inversion's place is taken by the normalization: no feature that is read compares the two.
    latents = Latents(w_norm, w_norm[0], torch.empty(0), torch.empty(0))
    regressor = load_regressor(bench.generator.folder / bench.generator.card.regressor)
    return regressor.predict(averaged_features(bench.measurer.compare(face, latents)))


def normalized(bench: Bench, face: AlignedFace, profile: Profile) -> Tensor:
    """Return w_norm (1, w_dim), on the CPU."""
    x_raw, mask = tensors(face, bench.generator)
    drawn_at = profile.draw_resolution
    objective = objective_for(bench.generator, bench.metric, x_raw, mask, profile, drawn_at)
    start = bench.generator.w_avg[None]
    pull = torch.full((1,), profile.lambda_avg, device=start.device)
    return descend(objective, start, pull, profile, row_generators(_SEED, 1), None).w.cpu()


def agreements(again: list[float], before: list[dict[str, dict[str, float]]]) -> dict[str, object]:
    """Return how `reference` agrees with itself, and `fast` with each of its runs and with their mean."""
    second = np.array(again)
    compared = next(name for name in before[0] if name != "reference")
    fast, first = (np.array([row[name]["score"] for row in before]) for name in (compared, "reference"))
    pairs = {
        "reference, again: with reference": (second, first),
        "fast: with reference": (fast, first),
        "fast: with reference, again": (fast, second),
        "fast: with the mean of both": (fast, (first + second) / 2),
    }
    record: dict[str, object] = {"photographs": len(again), "scores_again": [round(s, 3) for s in again]}
    for name, columns in pairs.items():
        record[name] = agreement(*columns)
    return record


if __name__ == "__main__":
    main()
