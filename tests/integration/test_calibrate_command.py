"""`facenorm calibrate` as its users call it, on the tiny generator: from rated photographs to a score."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dicom_node.calibration_run import load_measuring
from dicom_node.settings_sections import Scoring
from models.regressor import load_regressor
from pipeline.kept_measurements import KeptMeasurements, measure_photograph
from pipeline.quality_thresholds import QualityThresholds
from pipeline.result import FITTED_OTHERWISE, Scored
from pipeline.scoring import build_scorer
from reports.notices import regressor_nature
from tests.command import facenorm
from tests.faces import generated_face
from tests.rated_photographs import photographs, without_a_face, write_ratings
from tests.tiny import TINY_GENERATOR

pytestmark = pytest.mark.real_weights

FACENORM = str(Path(sys.executable).with_name("facenorm"))
# Photographs of the 28 that have been measured before.
KEPT = 18
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def command(*arguments: str | Path) -> list[str]:
    return [FACENORM, "calibrate", *map(str, arguments), "--generator", str(TINY_GENERATOR), "--trials", "2"]


def calibrate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return facenorm(*command(*arguments)[1:], env=ENVIRONMENT)


def said(finished: subprocess.CompletedProcess[str]) -> str:
    return " ".join(finished.stderr.split())


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen people, two photographs each; raters see the order that one feature gives, and noise."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("rated")
    names = photographs(folder / "photos", people=14, each=2)
    measuring = load_measuring(Scoring(generator=str(TINY_GENERATOR)), QualityThresholds())
    rows = [measure_photograph(measuring, folder / "photos" / name) for name in names]
    ranks = np.argsort(np.argsort([row.features["c_p99"] for row in rows])) / (len(rows) - 1)
    # As an earlier run left them: the command need not measure all of them once more.
    kept = KeptMeasurements(folder / "out" / "regressor.measured", measuring.setup())
    for name, row in list(zip(names, rows, strict=True))[:KEPT]:
        kept.keep(hashlib.sha256((folder / "photos" / name).read_bytes()).hexdigest(), row)
    names.append(without_a_face(folder / "photos"))
    write_ratings(folder / "ratings.csv", names, [*(6.5 - 5 * ranks), 4.0])
    return folder


@pytest.fixture(scope="module")
def calibrated(rated: Path) -> Path:
    """The regressor of a run that was interrupted once, on the way."""
    output = rated / "out" / "regressor.json"
    arguments = rated / "ratings.csv", rated / "photos", "--output", output
    started = subprocess.Popen(
        command(*arguments),
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        # A shell's background job inherits an ignored SIGINT, and so would this child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    rows = output.with_suffix(".measured")
    deadline = time.monotonic() + 100
    while len(list(rows.glob("*.json"))) < KEPT + 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130, errors
    assert "interrupted. Measured photographs are kept in" in " ".join(errors.split())
    assert "Traceback" not in errors
    assert not output.exists()
    finished = {path.name: path.stat().st_mtime_ns for path in rows.glob("*.json")}
    assert KEPT + 3 <= len(finished) < 29
    again = calibrate(*arguments)
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"{output}\n"
    left = {path.name: path.stat().st_mtime_ns for path in rows.iterdir()}
    assert len(left) == 29
    assert {name: left[name] for name in finished} == finished  # measured once and not again
    (output.parent / "said.txt").write_text(said(again))
    return output


def test_the_card_shows_the_planted_relation_beside_the_paper(calibrated: Path) -> None:
    document = json.loads(calibrated.read_text())
    card = document["card"]
    assert document["synthetic"] is True
    assert "c_p99" in document["features"]
    assert card["held_out"]["people"] == 3
    assert card["held_out"]["r"]["value"] is None, "three people show no correlation"
    assert card["compared"][card["model"]]["cross_validated_r"] > 0.8
    assert card["held_out"]["mae"]["value"] < 0.8 * card["held_out"]["mae_of_always_the_mean_rating"]
    assert card["paper"]["r"] == 0.9
    assert "not the same experiment" in card["paper"]["note"]
    assert card["data"]["photographs"] == 28
    assert card["data"]["people"] == 14
    assert card["data"]["unscorable"] == {"no_face": 1}
    assert 0.05 < card["data"]["mean_absolute_deviation_of_raters"] < 0.25  # noise of 0.2, three raters
    assert set(card["compared"]) == {"linear", "huber", "svr", "ridge", "lasso", "mlp"}
    assert sum(e["photographs"] for e in card["severity"].values()) == 28
    assert set(card["groups"]) == {"sex", "age"}
    text = calibrated.with_suffix(".md").read_text()
    assert "| R | not defined |" in text
    assert re.search(r"\| MAE, points \| [0-9.]+ \(too few people for an interval\) \|", text)
    assert "Synthetic: the raters were programs." in text
    with Image.open(calibrated.with_suffix(".png")) as plot:
        assert plot.width > 500


def test_what_is_written_names_no_photograph(calibrated: Path) -> None:
    for path in (calibrated, calibrated.with_suffix(".md"), *calibrated.with_suffix(".measured").iterdir()):
        assert "photograph-" not in path.name
        assert "photograph-" not in path.read_text()
        assert "simulated-" not in path.read_text()


def test_the_run_says_what_it_did(calibrated: Path) -> None:
    text = (calibrated.parent / "said.txt").read_text()
    assert "29 photographs of 15 people, 3 raters" in text
    assert "line 86: left out (no_face). No frontal face was found." in text
    assert "held-out people" in text
    assert "marked synthetic" in text
    assert "scoring" in text
    assert "Traceback" not in text


def test_the_node_scores_with_it(calibrated: Path, rated: Path) -> None:
    """The setting scoring.regressor is what `build_scorer` gets; the score is the file's own answer."""
    scorer = build_scorer(str(TINY_GENERATOR), "fast", "cpu", str(calibrated), 0)
    result = scorer.score_file(rated / "photos" / "photograph-00-0.png")
    assert isinstance(result, Scored)
    result = result.score
    regressor = load_regressor(calibrated)
    assert result.provenance.regressor_sha256 == regressor.sha256
    assert FITTED_OTHERWISE not in result.provenance.settings
    features = {**result.features.as_dict(), **result.local_features, **result.further_features}
    assert result.value == pytest.approx(regressor.predict(features), abs=1e-3)


def test_a_node_whose_profile_is_another_says_so_with_every_score(calibrated: Path) -> None:
    provenance = build_scorer(str(TINY_GENERATOR), "reference", "cpu", str(calibrated), 0).provenance
    assert "steps" in str(provenance.settings[FITTED_OTHERWISE]).split()
    assert "seed" not in str(provenance.settings[FITTED_OTHERWISE]).split()
    assert re.search(r"other settings .*\(.*steps.*\): calibrate anew", regressor_nature(provenance))


def test_a_regressor_is_not_overwritten_unasked(calibrated: Path, rated: Path) -> None:
    before = calibrated.read_bytes()
    finished = calibrate(rated / "ratings.csv", rated / "photos", "--output", calibrated)
    assert finished.returncode == 2
    assert "is there already; choose another --output, or say --overwrite" in said(finished)
    assert calibrated.read_bytes() == before


@pytest.mark.parametrize("suffix", [".md", ".png"])
def test_what_lies_beside_the_output_is_not_overwritten_unasked(
    tmp_path: Path, rated: Path, suffix: str
) -> None:
    notes = tmp_path / f"site{suffix}"
    notes.write_text("ours")
    finished = calibrate(rated / "ratings.csv", rated / "photos", "--output", tmp_path / "site.json")
    assert finished.returncode == 2
    assert f"site{suffix} is there already; choose another --output, or say --overwrite" in said(finished)
    assert notes.read_text() == "ours"


_OF_MANY = "\n".join(f"face{n}.png,x,3" for n in range(8))


@pytest.mark.parametrize(
    ("line", "arguments", "status", "message"),
    [
        ("face.png,x,8", (), 2, "line 2: the rating is outside 1"),
        ("other.png,x,3", (), 2, "line 2: there is no such photograph"),
        ("face.png,x,3", ("--output", "r.txt"), 2, "must end in .json"),
        ("face.png,x,3", ("--output", "absent/r.json"), 2, "there is no folder absent"),
        ("face.png,x,3", ("--name", "a\\b"), 2, "no backslash"),
        (_OF_MANY, ("--profile", "slow"), 2, "'slow' is none of fast"),
        ("face.png,x,3", (), 1, "photographs of 1 people can be used; at least 8 are needed"),
    ],
)
def test_what_cannot_work_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, arguments: tuple[str, ...], status: int,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for n, name in enumerate(re.findall(r"face\d*\.png", line)):
        Image.fromarray(generated_face(0)[n::8, ::8]).save(tmp_path / "photos" / name)
    (tmp_path / "r.csv").write_text(f"photograph,rater,rating\n{line}\n")
    finished = calibrate("r.csv", "photos", *arguments)
    assert finished.returncode == status, finished.stderr
    assert message in said(finished)
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "regressor.json").exists()
