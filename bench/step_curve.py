"""What the encoder reaches alone, and with n of Newton's steps, beside the average face as the start.

The normalization's terms, with the picture drawn by the whole network, after so many steps on cheap pictures
and then so many with the whole network: of photographs of real people, every second one with a drawn anomaly.

    python -m bench.step_curve --photos DIR [--faces 8] [--output bench/results/step_curve.json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from bench.compare_profiles import Bench, add_photo_arguments, picture, tensors
from bench.table import show
from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from models.lpips import load_metric
from pipeline.face import load_face_finder
from pipeline.measurement import FaceMeasurer
from pipeline.normalization import encoded
from pipeline.profile import Profile
from pipeline.proximal_newton import NewtonState, newton
from pipeline.shared_objective import SharedObjective

CHEAP = (0, 2, 4, 8, 12)
WHOLE = (4, 8, 14, 24)
STARTS = ("average", "encoder")

Found = TypeVar("Found")


def main() -> None:
    courses, output = of_photographs(__doc__, Path("bench/results/step_curve.json"), course)
    record = mean_course(courses)
    output.write_text(json.dumps({"photographs": len(courses), "steps": record}, indent=1) + "\n")
    show("step curve", [(name, str(terms)) for name, terms in record.items()])


def of_photographs(
    description: str | None, output: Path, measured: Callable[[Bench, Profile, Tensor, Tensor], Found]
) -> tuple[list[Found], Path]:
    """Measure photographs as the command line says; return what was found, and where it goes.

    Under `fast`, with the population's average.
    """
    arguments = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_photo_arguments(arguments, faces=8)
    arguments.add_argument("--output", type=Path, default=output)
    options = arguments.parse_args()
    keep_freed_memory()
    generator = load_generator(GENERATOR, choose_device("auto"))
    metric = load_metric(generator.device)
    # Which average is pulled to changes where the steps lead, hardly how fast.
    profile = replace(Profile.from_card(generator.card.profiles["fast"]), average="population")
    bench = Bench(generator, metric, FaceMeasurer(generator, metric, load_face_finder(), profile, 0))
    found = [
        measured(bench, profile, *tensors(picture(bench, number, options), generator))
        for number in track(range(options.faces), description="photographs")
    ]
    return found, options.output


def course(bench: Bench, profile: Profile, x_raw: Tensor, mask: Tensor) -> dict[str, dict[str, float]]:
    """Return the terms of one photograph by start and steps, "encoder 12+4" for instance."""
    generator, side = bench.generator, profile.metric_resolution
    answer = encoded(generator, bench.metric, x_raw[None], mask[None])[0]
    shared = generator.w_avg + profile.start_share * (answer - generator.w_avg)
    starts = torch.stack([generator.w_avg, shared])
    if generator.curvature is None:
        raise SystemExit(f"{generator.name} has no curvature: see bench.fit_curvature")
    cheap, whole = (
        SharedObjective(
            generator, bench.metric, x_raw.expand(2, -1, -1, -1), mask.expand(2, -1, -1), side, drawn_at
        )
        for drawn_at in (profile.draw_resolution, generator.network.resolution)
    )
    pull = torch.full((2,), profile.lambda_avg, device=generator.device)
    terms: dict[str, dict[str, float]] = {}

    def note(steps: str, w: Tensor, names: tuple[str, str] = STARTS) -> None:
        with torch.no_grad():
            similarity, averageness = whole.terms(w)
        for n, start in enumerate(names):
            lpips, mean = float(similarity[n]), float(averageness[n])
            total = profile.lambda_sim * lpips + profile.lambda_avg * mean
            terms[f"{start} {steps}"] = {"similarity": lpips, "averageness": mean, "total": total}

    note("0", torch.stack([generator.w_avg, answer]), ("average", "encoder's answer"))
    state = NewtonState.at(starts, 2 * profile.lambda_sim * generator.curvature)
    for before, steps in zip((0, *CHEAP), CHEAP, strict=False):
        state, _ = newton(cheap, state, profile.lambda_sim, pull, steps - before, lambda: None)
        note(str(steps), state.w)
    for before, steps in zip((0, *WHOLE), WHOLE, strict=False):
        state, _ = newton(whole, state, profile.lambda_sim, pull, steps - before, lambda: None)
        note(f"{CHEAP[-1]}+{steps}", state.w)
    return terms


def mean_course(courses: list[dict[str, dict[str, float]]]) -> Mapping[str, dict[str, float]]:
    """Return the mean over photographs of every term."""
    return {
        steps: {term: round(float(np.mean([c[steps][term] for c in courses])), 4) for term in terms}
        for steps, terms in courses[0].items()
    }


if __name__ == "__main__":
    main()
