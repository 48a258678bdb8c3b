"""A generator ready for use: network, latent statistics and card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from models.anomaly_ensemble import AnomalyNetworkError, LoadedAnomalyNetwork, load_anomaly_network
from models.cache import WeightsMissingError, cache_folder
from models.catalog import GENERATOR
from models.face_network import FaceNetwork
from models.generator_card import GeneratorCard, GeneratorError, official_card
from models.generator_files import generator_files, is_official
from models.latent_averages import AveragesError, LatentAverages, averages_path, load_averages
from models.latent_covariance import CovarianceError, LatentCovariance, covariance_path, load_covariance
from models.latent_encoder import LatentEncoder
from models.latent_statistics import kept_statistics
from models.mobilestylegan import MobileStyleGAN
from models.official_network import RefusedFileError, read_official_network


@dataclass(frozen=True, slots=True)
class Generator:
    """Network with what is known about its latent space W, on one device.

    w_avg, w_low, w_high: (w_dim,), mean over samples, and the box that 99.9 % of each component keep to.
    encoder: photograph to latent, where one was fitted. curvature: (w_dim, w_dim), half the mean second
    derivative of the masked LPIPS by w (`bench.fit_curvature`), where it was measured. sha256: over every
    byte that all this was built from, but for what follows, which a setup names where a score depends on it:
    averages nearer to the person than w_avg, and the covariance of w, where they were found; anomaly_network,
    which says where a face is anomalous, where one was trained.
    """

    card: GeneratorCard
    network: FaceNetwork
    encoder: LatentEncoder | None
    curvature: Tensor | None
    w_avg: Tensor
    w_std: Tensor
    w_low: Tensor
    w_high: Tensor
    sha256: str
    folder: Path
    averages: LatentAverages | None = None
    covariance: LatentCovariance | None = None
    anomaly_network: LoadedAnomalyNetwork | None = None

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.w_avg.device


class DeviceUnusableError(GeneratorError):
    """The device of the settings is not there, or has no driver."""


def choose_device(device: str) -> torch.device:
    """Return the torch device for a setting: "auto" takes a GPU where there is one.

    Raises DeviceUnusableError for a device that torch does not know, or cannot use here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceUnusableError(
            f"scoring.device: the device {device!r} cannot be used here ({reason})"
        ) from error


def load_generator(name: str, device: torch.device) -> Generator:
    """Load the generator called `name`, or the one in a file.

    A .safetensors file needs its card (.json) beside it. A .pkl or .pt file is an official StyleGAN2 network
    (`models.official_network`); nothing in it is run, and it needs no card. Raises GeneratorError for an
    unknown name or a file that cannot be used, WeightsMissingError where the weights have not been fetched,
    or are damaged.
    """
    if is_official(name):
        return load_official_generator(Path(name), device)
    files = generator_files(name)
    parts = files.parts
    contents = [part.read_bytes() for part in parts]
    try:
        tensors = {k: v for content in contents for k, v in load(content).items()}
    except SafetensorError as error:
        if name == GENERATOR:
            raise WeightsMissingError(GENERATOR, parts[0].name, damaged=True) from error
        raise GeneratorError(f"scoring.generator: {parts[0].name} is damaged ({error})") from error
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    generator = assemble(
        tensors, GeneratorCard.parse(files.card.read_text("utf-8")), digest.hexdigest(), files.folder, device
    )
    try:
        judge = parts[-1].with_name(f"{parts[-1].stem}-anomaly.safetensors")
        return replace(
            generator,
            averages=load_averages(averages_path(parts[-1]), device),
            covariance=load_covariance(covariance_path(parts[-1])),
            anomaly_network=load_anomaly_network(judge, device) if judge.is_file() else None,
        )
    except (AveragesError, CovarianceError, AnomalyNetworkError) as error:
        raise GeneratorError(f"scoring.generator: {error}") from error


def load_official_generator(
    path: Path, device: torch.device, told: Callable[[str], None] | None = None
) -> Generator:
    """Load an official StyleGAN2 network with its own w_avg and the card beside it, or a plain one.

    Latent statistics are kept in the weights cache. told: see `kept_statistics`. Raises GeneratorError.
    """
    try:
        official = read_official_network(path)
    except RefusedFileError as error:
        raise GeneratorError(f"scoring.generator: {path.name} cannot be used: {error}") from error
    network, folder = official.network, cache_folder() / "latent-statistics"
    arguments = () if told is None else (told,)
    try:
        kept = kept_statistics(network, official.sha256, folder, *arguments)
    except CovarianceError as error:
        raise GeneratorError(f"scoring.generator: {path.name} cannot be used: {error}") from error
    statistics = kept.tensors | ({} if official.w_avg is None else {"w_avg": official.w_avg})
    w_avg, w_std, w_low, w_high = (statistics[k].to(device) for k in ("w_avg", "w_std", "w_low", "w_high"))
    beside = path.with_suffix(".json")
    card = (
        GeneratorCard.parse(beside.read_text("utf-8"))
        if beside.is_file()
        else official_card(path.stem, network.resolution)
    )
    return Generator(
        card, network.eval().to(device), None, None, w_avg, w_std, w_low, w_high,
        official.sha256, path.parent, covariance=kept.covariance,
    )  # fmt: skip


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
