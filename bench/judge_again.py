"""Lets another anomaly network judge cases that were measured before, without normalizing them anew.

A row of `bench.measure_cases` keeps its latents, from which the normalized faces are drawn again, and the
photograph is drawn from its case. Resumable; run several side by side with --share.

    python -m bench.judge_again --network FILE --photos DIR --rows out/validation --output out/judged
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file

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
from pipeline.features import FEATURE_SIDE, FeatureExtractor, mean_by_name, to_tensor
from pipeline.learned_features import learned_features
from pipeline.region_shares import RegionBaseline, shares_of_face

_FIELDS = ("person", "split", "view", "kind", "level", "seed")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--network", type=Path, required=True)
    arguments.add_argument("--photos", type=Path, help="of the people among the rows")
    arguments.add_argument("--rows", type=Path, default=Path("out/validation"))
    arguments.add_argument("--output", type=Path, required=True)
    arguments.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("N", "OF"))
    arguments.add_argument("--seed", type=int, default=77, help="of the generated faces")
    options = arguments.parse_args()
    keep_freed_memory()
    device = torch.device("cpu")
    generator, metric = load_generator(GENERATOR, device), load_metric(device)
    loaded = load_anomaly_network(options.network, device)
    claim_folder(options.output, setup_of(options.rows) | {"anomaly_network_sha256": loaded.sha256})
    number, of = options.share
    paths = sorted(row_paths(options.rows), key=_urgency)[number::of]
    for path in track([p for p in paths if not (options.output / p.name).exists()], "judging"):
        row = json.loads(path.read_text("utf-8"))
        if "features" in row:
            judge(row, path, generator, metric, loaded.network, options)
            shutil.copy(path.with_suffix(".safetensors"), options.output)
        write_row(options.output / path.name, row)


def _urgency(path: Path) -> tuple[int, str]:
    """Undeformed people first, then the strong anomalies, generated faces last."""
    split, _, _, kind, level = path.stem.split("-")
    order = 3 if split == GENERATED else 0 if kind == "undeformed" else 1 if level == "1.000" else 2
    return order, path.name


@torch.no_grad()
def judge(
    row: dict[str, object],
    path: Path,
    generator: Generator,
    metric: Lpips,
    network: AnomalyEnsemble,
    options: argparse.Namespace,
) -> None:
    """Put the network's features in the place of those that the row has."""
    case = Case(**{name: row[name] for name in _FIELDS})  # type: ignore[arg-type]
    of_nobody = generated(generator, case, options.seed) if case.split == GENERATED else None
    face = case_picture(case, options.photos, of_nobody).face
    if face is None:
        raise SystemExit(f"{path.name}: its face is not found any more")
    mask = torch.from_numpy(face.mask)[None]
    picture = to_tensor(face.picture, mask.device)[None]
    extractor = FeatureExtractor(metric, picture, mask, generator.covariance)
    candidates: list[dict[str, float]] = list(row["candidates"])  # type: ignore[call-overload]
    learned, maps, judged = [], [], []
    for w in load_file(path.with_suffix(".safetensors"))["w_norm"].float():
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
