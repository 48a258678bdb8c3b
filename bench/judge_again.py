"""Measures anew what needs no normalizing, of cases that were measured before.

A row of `bench.measure_cases` keeps its latents, from which the normalized faces are drawn again, and the
photograph is drawn from its case. Measured are the shape features and, with --network, what another anomaly
network says. Resumable; run several side by side with --share.

    python -m bench.judge_again --network FILE --photos DIR --rows out/validation --output out/judged
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor

from bench.measure_cases import generated
from bench.validation_cases import GENERATED, Case
from bench.validation_pictures import case_picture
from bench.validation_rows import claim_folder, row_paths, setup_of, write_row
from models.allocator import keep_freed_memory
from models.anomaly_ensemble import AnomalyEnsemble, load_anomaly_network
from models.catalog import GENERATOR
from models.generator import Generator, load_generator
from models.lpips import Lpips, load_metric
from pipeline.anomaly_map import anomaly_map, judged_map
from pipeline.drawn_face import drawn_face
from pipeline.face import FaceFinder, load_face_finder
from pipeline.features import FEATURE_SIDE, FeatureExtractor, mean_by_name, to_picture, to_tensor
from pipeline.learned_features import learned_features
from pipeline.locating import AlignedFace
from pipeline.measuring import measured_features
from pipeline.region_shares import RegionBaseline, shares_of_face
from pipeline.shape_features import shape_features

_FIELDS = ("person", "split", "view", "kind", "level", "seed")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--network", type=Path, help="the anomaly network that judges, if it shall")
    arguments.add_argument("--output", type=Path, required=True)
    add_rows_arguments(arguments)
    options = arguments.parse_args()
    keep_freed_memory()
    device = torch.device("cpu")
    generator, metric, finder = load_generator(GENERATOR, device), load_metric(device), load_face_finder()
    loaded = load_anomaly_network(options.network, device) if options.network else None
    judge = {"anomaly_network_sha256": loaded.sha256} if loaded else {}
    features = {"features": sorted(measured_features(generator))}
    claim_folder(options.output, setup_of(options.rows) | features | judge)
    paths = share_of_rows(options)
    for path in track([p for p in paths if not (options.output / p.name).exists()], "judging"):
        row = json.loads(path.read_text("utf-8"))
        if "features" in row:
            face = face_of(row, path, generator, options)
            latents = load_file(path.with_suffix(".safetensors"))["w_norm"].float()
            find_shape(row, face, latents, generator, finder)
            if loaded:
                judged_by(loaded.network, row, face, latents, generator, metric)
            shutil.copy(path.with_suffix(".safetensors"), options.output)
        write_row(options.output / path.name, row)


def add_rows_arguments(arguments: argparse.ArgumentParser) -> None:
    """Add what says which rows are measured, and by whom."""
    arguments.add_argument("--photos", type=Path, help="of the people among the rows")
    arguments.add_argument("--rows", type=Path, default=Path("out/validation"))
    arguments.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("N", "OF"))
    arguments.add_argument("--seed", type=int, default=77, help="of the generated faces")


def share_of_rows(options: argparse.Namespace) -> list[Path]:
    """Return the rows that these arguments ask for, the most telling ones first."""
    number, of = options.share
    return sorted(row_paths(options.rows), key=_most_telling_first)[number::of]


def _most_telling_first(path: Path) -> tuple[int, str]:
    """Order rows: undeformed people first, then the strong anomalies, generated faces last."""
    split, _, _, kind, level = path.stem.split("-")
    order = 3 if split == GENERATED else 0 if kind == "undeformed" else 1 if level == "1.000" else 2
    return order, path.name


def case_of(row: Mapping[str, object]) -> Case:
    """Return the case that a row was measured of."""
    return Case(**{name: row[name] for name in _FIELDS})  # type: ignore[arg-type]


def face_of(
    row: Mapping[str, object], path: Path, generator: Generator, options: argparse.Namespace
) -> AlignedFace:
    """Return the aligned face of a row's case, drawn again. path: the row's."""
    case = case_of(row)
    of_nobody = generated(generator, case, options.seed) if case.split == GENERATED else None
    face = case_picture(case, options.photos, of_nobody).face
    if face is None:
        raise SystemExit(f"{path.name}: its face is not found any more")
    return face


@torch.no_grad()
def find_shape(
    row: dict[str, object], face: AlignedFace, latents: Tensor, generator: Generator, finder: FaceFinder
) -> None:
    """Put the shape features into the row. latents: (K, w_dim)."""
    candidates: list[dict[str, float]] = list(row["candidates"])  # type: ignore[call-overload]
    normalized = nearest_normalized(candidates, latents, generator)
    shape = shape_features(finder, face.picture, face.landmarks, normalized)
    row["features"] = {**row["features"], **shape}  # type: ignore[dict-item]
    row["candidates"] = [{**one, **shape} for one in candidates]


@torch.no_grad()
def nearest_normalized(
    candidates: Sequence[Mapping[str, float]], latents: Tensor, generator: Generator
) -> NDArray[np.uint8]:
    """Return the picture of the candidate that is nearest to the photograph. latents: (K, w_dim)."""
    nearest = int(np.argmin([one["d_xperc"] for one in candidates]))
    return to_picture(generator.network.synthesis(latents[nearest : nearest + 1])[0])


@torch.no_grad()
def judged_by(
    network: AnomalyEnsemble,
    row: dict[str, object],
    face: AlignedFace,
    latents: Tensor,
    generator: Generator,
    metric: Lpips,
) -> None:
    """Put the network's features in the place of those that the row has. latents: (K, w_dim)."""
    mask = torch.from_numpy(face.mask)[None]
    picture = to_tensor(face.picture, mask.device)[None]
    extractor = FeatureExtractor(metric, picture, mask, generator.covariance)
    candidates: list[dict[str, float]] = list(row["candidates"])  # type: ignore[call-overload]
    learned, maps, judged = [], [], []
    for w in latents:
        drawn = drawn_face(generator, w[None], mask, FEATURE_SIDE)
        answer = extractor.judged(network, drawn)
        learned += learned_features(answer, extractor.cells)
        maps.append(extractor.maps(drawn)[1])
        judged.append(answer.map)
    row["features"] = {**row["features"], **mean_by_name(learned)}  # type: ignore[dict-item]
    row["candidates"] = [{**a, **b} for a, b in zip(candidates, learned, strict=True)]
    row["regions"] = shares_of_face(
        anomaly_map(torch.cat(maps)[None], extractor.mask)[0],
        face.landmarks,
        RegionBaseline.of_card(generator.card),
        judged_map(torch.cat(judged)[None], FEATURE_SIDE)[0],
    )


if __name__ == "__main__":
    main()
