"""The settings of a normalization, by name in the generator's card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from pipeline.averageness import AVERAGENESS
from pipeline.similarity import LEAST_STRUCTURAL_SIDE, SIMILARITIES

MOST_CANDIDATES = 10
"""The paper tries K from 1 to 10."""


class ProfileError(ValueError):
    """A profile's settings are wrong; the message names the key."""


_COUNTS = (
    "steps",
    "metric_resolution",
    "draw_resolution",
    "candidates",
    "candidate_steps",
    "full_steps",
    "raw_steps",
)
_QUANTITIES = (
    "lambda_sim",
    "lambda_avg",
    "start_share",
    "start_spread",
    "learning_rate",
    "warm_up",
    "ramp_down",
)
_ABOVE_ZERO = ("steps", "metric_resolution", "lambda_sim", "candidates")
_CHOICES = {
    "method": ("adam", "newton"),
    "start": ("average", "encoder"),
    "average": ("population", "nearest"),
    "box": ("statistics", "paper"),
    "candidates_from": ("starts", "iterates"),
    "similarity": SIMILARITIES,
    "averageness": tuple(AVERAGENESS),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of an optimisation; they live in the generator's card, chosen by `bench.choose_profile`.

    similarity, averageness: the losses L_S and L_A, by their names in `pipeline.similarity` and
    `pipeline.averageness`.

    steps: iterations. metric_resolution: side, in pixels, at which pictures are compared. draw_resolution:
    side at which they are drawn; 0 takes the smallest that serves the metric. candidates: K, 1 to 10.
    candidates_from: "starts", each a start of its own, or "iterates", one run's best and those nearest to it.
    average: what L_A pulls to, "population" (w_avg over everybody, the paper's) or "nearest" (that of the
    generator's averages which is nearest to the person, `pipeline.nearest_average`). start: where they begin,
    "average" or "encoder" (the latent encoder's answer). start_share: after which share of the way from the
    average to that answer the normalizations begin; Adam's raw inversion begins at its end. start_spread:
    their standard deviation around it, in standard deviations of w. box: components outside are redrawn
    inside: "statistics" takes the generator's own range, "paper" takes [-1, 1].

    method: "adam", the plain loop, or "newton" (`pipeline.proximal_newton`). learning_rate: Adam's, in units
    of w. warm_up, ramp_down: shares of Adam's steps over which the rate rises and falls (cosine).
    candidate_steps: Newton's steps for the further candidates. full_steps: Newton's last steps for the first
    candidate, drawn by the whole network. raw_steps: as many of these at the end the raw inversion takes
    beside it, from where the candidate has come to by then.
    """

    steps: int
    metric_resolution: int
    lambda_sim: float
    lambda_avg: float
    draw_resolution: int = 0
    candidates: int = 5
    start: str = "average"
    start_share: float = 1.0
    start_spread: float = 0.0
    warm_up: float = 0.0
    ramp_down: float = 0.0
    box: str = "statistics"
    method: str = "adam"
    learning_rate: float = 0.0
    candidate_steps: int = 0
    full_steps: int = 0
    raw_steps: int = 0
    candidates_from: str = "starts"
    similarity: str = "perceptual"
    averageness: str = "mean_absolute"
    average: str = "population"

    def __post_init__(self) -> None:
        """Raise ProfileError for a value that cannot work."""
        for key in _COUNTS:
            if type(getattr(self, key)) is not int:
                raise ProfileError(f"{key} must be a whole number, not {getattr(self, key)!r}")
        for key in (*_COUNTS, *_QUANTITIES):
            value = getattr(self, key)
            if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
                raise ProfileError(f"{key} must be a number of at least zero, not {value!r}")
        for key in (*_ABOVE_ZERO, "learning_rate") if self.method == "adam" else _ABOVE_ZERO:
            if not getattr(self, key) > 0:
                raise ProfileError(f"{key} must be above zero")
        for key in ("warm_up", "ramp_down"):
            if getattr(self, key) > 1:
                raise ProfileError(f"{key} is a share of the steps and cannot be above 1")
        if self.raw_steps > self.full_steps:
            raise ProfileError("raw_steps are the last of full_steps and cannot be more")
        if self.method == "newton" and not self.raw_steps:
            raise ProfileError("raw_steps must be above zero: without them the raw inversion is none")
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                named = " or ".join(repr(choice) for choice in choices)
                raise ProfileError(f"{key} must be {named}, not {getattr(self, key)!r}")
        self._check_together()

    def _check_together(self) -> None:
        if self.candidates > MOST_CANDIDATES:
            raise ProfileError(f"candidates must be at most {MOST_CANDIDATES}")
        if self.candidates_from == "iterates" and self.candidates > self.steps:
            raise ProfileError("candidates_from: 'iterates' needs at least as many steps as candidates")
        if self.similarity == "structural" and self.metric_resolution < LEAST_STRUCTURAL_SIDE:
            raise ProfileError(
                f"metric_resolution must be at least {LEAST_STRUCTURAL_SIDE} for similarity 'structural'"
            )
        if self.method != "newton":
            return
        # Its curvature was measured for these losses, and its candidates are starts of their own.
        for key, only in (
            ("similarity", "perceptual"),
            ("averageness", "mean_absolute"),
            ("candidates_from", "starts"),
        ):
            if getattr(self, key) != only:
                raise ProfileError(
                    f"method: 'newton' works with {key} {only!r} only; use method 'adam' with "
                    f"{getattr(self, key)!r}, and give it a learning_rate"
                )

    @staticmethod
    def from_card(values: Mapping[str, object]) -> Profile:
        """Build a profile from a card's mapping; raises ProfileError naming an unknown or missing key."""
        known = {f.name for f in fields(Profile)}
        unknown = values.keys() - known
        if unknown:
            raise ProfileError(f"unknown key {sorted(unknown)[0]}")
        try:
            return Profile(**values)  # type: ignore[arg-type]
        except TypeError as error:
            raise ProfileError(str(error)) from error

    def as_dict(self) -> dict[str, int | float | str]:
        """Return the settings by name; "population" goes without saying."""
        settings = asdict(self)
        if self.average == "population":
            del settings["average"]  # or every score from before there was a choice would be of another setup
        return settings
