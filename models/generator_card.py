"""What a generator's card states, and the card of a network that came without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class GeneratorError(ValueError):
    """The generator cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class GeneratorCard:
    """What a generator's card states: licence, origin, and the settings of each profile by name.

    profiles: profile -> settings of the optimisation (see `pipeline.profile.Profile`).
    regressor: file name of the regressor that was trained on this generator. anchors: which faces the anchor
    score compares with (see `pipeline.anchor_score.Anchors`). regions: what each region of an undeformed face
    deviates (see `pipeline.region_shares.RegionBaseline`); empty where that was not measured.
    """

    name: str
    title: str
    licence: str
    profiles: Mapping[str, Mapping[str, float | int | str | None]]
    regressor: str
    anchors: Mapping[str, Any] = field(default_factory=dict)
    regions: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> GeneratorCard:
        """Read a card; raises GeneratorError naming the missing key, or for what is no JSON object."""
        try:
            values = json.loads(text)
            return GeneratorCard(
                **{key: values[key] for key in ("name", "title", "licence", "profiles", "regressor")},
                anchors=values.get("anchors", {}),
                regions=values.get("regions", {}),
            )
        except KeyError as missing:
            raise GeneratorError(f"the generator's card lacks the key {missing}") from missing
        except (TypeError, ValueError) as error:
            raise GeneratorError(f"the generator's card cannot be read ({error})") from error


OFFICIAL_LICENCE = (
    "as its source states; NVIDIA's published networks: NVIDIA Source Code License, non-commercial, and the "
    "photographs of FFHQ CC BY-NC-SA 4.0"
)


def official_card(name: str, resolution: int) -> GeneratorCard:
    """Return the card of an official StyleGAN2 network of that side, in pixels.

    W is that of the default generator's teacher, so its weights of the losses serve. There is no encoder and
    no curvature: every profile is Adam's, from the average face. No regressor belongs to it.
    """
    losses = {"lambda_sim": 10.0, "lambda_avg": 1.0, "metric_resolution": min(256, resolution)}
    adam = {"learning_rate": 0.03, "draw_resolution": resolution}
    profiles: dict[str, Mapping[str, float | int | str | None]] = {
        "fast": {**losses, "steps": 100, "learning_rate": 0.05, "ramp_down": 0.25, "candidates": 5},
        "reference": {**losses, **adam, "steps": 500, "candidates": 1},
        "paper": {
            **losses,
            **adam,
            "metric_resolution": resolution,
            "lambda_avg": 100.0,
            "steps": 500,
            "candidates": 5,
            "candidates_from": "iterates",
            "box": "paper",
        },
    }
    title = f"StyleGAN2, {resolution}x{resolution}, from a file of its authors' layout"
    return GeneratorCard(name, title, OFFICIAL_LICENCE, profiles, regressor="")
