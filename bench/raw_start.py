"""Where the raw inversion had best begin: what a second head of the encoder could give at most.

After the normalization's steps, the raw inversion's LPIPS when it begins where these have come to, as `fast`
does; at the encoder's answer, which knows no anomaly; and at the encoder's answer to the picture that a raw
inversion of many steps draws: what a second head would answer that sees the anomaly, and errs as the encoder
does.

    python -m bench.raw_start --photos DIR [--faces 8] [--output bench/results/raw_start.json]
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.compare_profiles import Bench
from bench.step_curve import of_photographs
from bench.table import show
from pipeline.normalization import encoded
from pipeline.profile import Profile
from pipeline.proximal_newton import NewtonState, newton
from pipeline.shared_objective import SharedObjective

_SETTLED_STEPS = 24
STEPS = (0, 2, 4)


def main() -> None:
    found, output = of_photographs(__doc__, Path("bench/results/raw_start.json"), lpips_by_start)
    mean = {name: [round(float(np.mean(v)), 4) for v in zip(*(f[name] for f in found), strict=True)]
            for name in found[0]}  # fmt: skip
    record = {"photographs": len(found), "steps": STEPS, "raw_lpips": mean}
    output.write_text(json.dumps(record, indent=1) + "\n")
    show("raw LPIPS after " + ", ".join(map(str, STEPS)) + " steps", [(n, str(v)) for n, v in mean.items()])


def lpips_by_start(bench: Bench, profile: Profile, x_raw: Tensor, mask: Tensor) -> dict[str, list[float]]:
    """Return the raw inversion's LPIPS of one photograph after each of `STEPS`, by where it begins."""
    generator, side = bench.generator, profile.metric_resolution
    answer = encoded(generator, bench.metric, x_raw[None], mask[None])
    if generator.curvature is None:
        raise SystemExit(f"{generator.name} has no curvature: see bench.fit_curvature")
    cheap, whole = (
        SharedObjective(generator, bench.metric, x_raw[None], mask[None], side, drawn_at)
        for drawn_at in (profile.draw_resolution, generator.network.resolution)
    )

    def steps(goal: SharedObjective, begin: NewtonState, pull: float, count: int) -> NewtonState:
        pulled = torch.full((1,), pull, device=generator.device)
        return newton(goal, begin, profile.lambda_sim, pulled, count, lambda: None)[0]

    def course(begin: NewtonState) -> list[float]:
        lpips, done = [], 0
        for count in STEPS:
            begin, done = steps(whole, begin, 0.0, count - done), count
            with torch.no_grad():
                lpips.append(float(whole.terms(begin.w)[0][0]))
        return lpips

    start = generator.w_avg + profile.start_share * (answer - generator.w_avg)
    near = steps(
        cheap, NewtonState.at(start, 2 * profile.lambda_sim * generator.curvature), profile.lambda_avg,
        profile.steps,
    )  # fmt: skip
    at = steps(whole, near, profile.lambda_avg, profile.full_steps - profile.raw_steps)
    settled = steps(whole, at, 0.0, _SETTLED_STEPS)
    with torch.no_grad():
        head = encoded(generator, bench.metric, generator.network.synthesis(settled.w), mask[None])
    return {
        "where the normalization has come to (kept)": course(at),
        "the encoder's answer": course(NewtonState(answer, at.curvature)),
        "a second head": course(NewtonState(head, at.curvature)),
        f"{_SETTLED_STEPS} steps, for comparison": [float(whole.terms(settled.w)[0][0])],
    }


if __name__ == "__main__":
    main()
