"""Which files a generator is made of, by its name or path; quick to import."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from models.cache import cached_path
from models.catalog import GENERATOR
from models.generator_card import GeneratorError

OFFICIAL_SUFFIXES = (".pkl", ".pt")
"""Of files as their makers publish them."""


@dataclass(frozen=True, slots=True)
class GeneratorFiles:
    """parts: the weights, what is fetched first. card: what is known of them."""

    parts: tuple[Path, ...]
    card: Path

    @property
    def folder(self) -> Path:
        """Where the card and what else belongs to the generator lie."""
        return self.card.parent


def is_official(name: str) -> bool:
    """Whether `name` is of a file with an official StyleGAN2 network that is there."""
    return Path(name).suffix in OFFICIAL_SUFFIXES and Path(name).is_file()


def generator_files(name: str) -> GeneratorFiles:
    """Return the files of the generator called `name`, or of the .safetensors file and the card beside it.

    Raises GeneratorError for an unknown name or a file that is not there, WeightsMissingError where the
    weights have not been fetched.
    """
    if name == GENERATOR:
        folder = Path(str(resources.files("models"))) / "data"
        parts = cached_path(GENERATOR, "generator.safetensors"), folder / f"{GENERATOR}.safetensors"
        return GeneratorFiles(parts, folder / f"{GENERATOR}.json")
    weights = Path(name)
    if weights.suffix != ".safetensors" or not weights.is_file():
        if weights.suffix in (".safetensors", *OFFICIAL_SUFFIXES) and not weights.exists():
            raise GeneratorError(f"scoring.generator: there is no file {weights.absolute()}")
        raise GeneratorError(
            f"scoring.generator: {name!r} is neither {GENERATOR!r} nor a .safetensors, .pkl or .pt file"
        )
    card = weights.with_suffix(".json")
    if not card.is_file():
        raise GeneratorError(f"scoring.generator: the card {card.name} is missing beside {weights.name}")
    return GeneratorFiles((weights,), card)
