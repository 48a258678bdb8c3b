"""A generator ready for use: network, latent statistics and card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from models.cache import cached_path
from models.catalog import GENERATOR
from models.latent_covariance import CovarianceError, LatentCovariance, covariance_path, load_covariance
from models.latent_encoder import LatentEncoder
from models.mobilestylegan import MobileStyleGAN


class GeneratorError(ValueError):
    """The generator cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class GeneratorCard:
    """What a generator's card states: licence, origin, and the settings of each profile by name.

    profiles: profile -> settings of the optimisation (see `pipeline.profile.Profile`).
    regressor: file name of the regressor that was trained on this generator. anchors: which faces the anchor
    score compares with (see `pipeline.anchor_score.Anchors`).
    """

    name: str
    title: str
    licence: str
    profiles: Mapping[str, Mapping[str, float | int | str | None]]
    regressor: str
    anchors: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> GeneratorCard:
        """Read a card; raises GeneratorError naming the missing key, or for what is no JSON object."""
        try:
            values = json.loads(text)
            return GeneratorCard(
                **{key: values[key] for key in ("name", "title", "licence", "profiles", "regressor")},
                anchors=values.get("anchors", {}),
            )
        except KeyError as missing:
            raise GeneratorError(f"the generator's card lacks the key {missing}") from missing
        except (TypeError, ValueError) as error:
            raise GeneratorError(f"the generator's card cannot be read ({error})") from error


@dataclass(frozen=True, slots=True)
class Generator:
    """Network with what is known about its latent space W, on one device.

    w_avg, w_low, w_high: (w_dim,), mean over samples, and the box that 99.9 % of each component keep to.
    encoder: photograph to latent, where one was fitted. curvature: (w_dim, w_dim), half the mean second
    derivative of the masked LPIPS by w (`bench.fit_curvature`), where it was measured. sha256: over every
    byte that all this was built from. covariance: of w, where it was estimated; no picture depends on it, and
    the sha256 leaves it out.
    """

    card: GeneratorCard
    network: MobileStyleGAN
    encoder: LatentEncoder | None
    curvature: Tensor | None
    w_avg: Tensor
    w_std: Tensor
    w_low: Tensor
    w_high: Tensor
    sha256: str
    folder: Path
    covariance: LatentCovariance | None = None

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.w_avg.device


def choose_device(device: str) -> torch.device:
    """Return the torch device for a setting: "auto" takes a GPU where there is one.

    Raises GeneratorError for a device that torch does not know, or cannot use here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise GeneratorError(
            f"scoring.device: the device {device!r} cannot be used here ({reason})"
        ) from error


def load_generator(name: str, device: torch.device) -> Generator:
    """Load the generator called `name`, or the one in a .safetensors file with its card (.json) beside it.

    Raises GeneratorError for an unknown name or a file without a card, WeightsMissingError where the
    weights have not been fetched.
    """
    if name == GENERATOR:
        folder = Path(str(resources.files("models"))) / "data"
        parts = [cached_path(GENERATOR, "generator.safetensors"), folder / f"{GENERATOR}.safetensors"]
        card = folder / f"{GENERATOR}.json"
    else:
        weights = Path(name)
        folder, parts, card = weights.parent, [weights], weights.with_suffix(".json")
        if weights.suffix != ".safetensors" or not weights.is_file():
            raise GeneratorError(
                f"scoring.generator: {name!r} is neither {GENERATOR!r} nor a .safetensors file"
            )
        if not card.is_file():
            raise GeneratorError(f"scoring.generator: the card {card.name} is missing beside {weights.name}")
    contents = [part.read_bytes() for part in parts]
    tensors = {k: v for content in contents for k, v in load(content).items()}
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    generator = assemble(
        tensors, GeneratorCard.parse(card.read_text("utf-8")), digest.hexdigest(), folder, device
    )
    try:
        return replace(generator, covariance=load_covariance(covariance_path(parts[-1])))
    except CovarianceError as error:
        raise GeneratorError(f"scoring.generator: {error}") from error


def assemble(
    tensors: Mapping[str, Tensor], card: GeneratorCard, sha256: str, folder: Path, device: torch.device
) -> Generator:
    """Build a generator from its tensors; raises GeneratorError where latent statistics are missing."""
    missing = {"w_avg", "w_std", "w_low", "w_high"} - tensors.keys()
    if missing:
        raise GeneratorError(f"the generator's weights lack {', '.join(sorted(missing))}")
    network = MobileStyleGAN(tensors).eval().to(device)
    w_avg, w_std, w_low, w_high = (tensors[key].to(device) for key in ("w_avg", "w_std", "w_low", "w_high"))
    encoder = LatentEncoder(tensors).eval().to(device) if "encoder.axes" in tensors else None
    curvature = tensors["curvature"].to(device) if "curvature" in tensors else None
    return Generator(card, network, encoder, curvature, w_avg, w_std, w_low, w_high, sha256, folder)


def latent_statistics(network: MobileStyleGAN, samples: int = 200_000, seed: int = 0) -> dict[str, Tensor]:
    """Return w_avg, w_std and the box (0.05 and 99.95 percentiles) over `samples` draws of z."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        w = torch.cat(
            [
                network.mapping(torch.randn(10_000, network.w_dim, generator=random))
                for _ in range(samples // 10_000)
            ]
        )
    ordered = w.sort(0).values
    edge = max(1, round(0.0005 * len(w)))
    return {
        "w_avg": w.mean(0),
        "w_std": w.std(0),
        "w_low": ordered[edge].clone(),
        "w_high": ordered[-edge].clone(),
    }
