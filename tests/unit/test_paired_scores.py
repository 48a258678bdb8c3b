"""Pairs of photographs: both methods on both, on the tiny generator, and the command around it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dicom_node.cli import app
from pipeline.anchor_score import Anchors, AnchorScorer
from pipeline.paired_scores import METHODS, PairScorer, PairScores, summaries
from pipeline.result import Rejection, RejectionReason, Scored
from tests.faces import generated_face
from tests.landmarks import usual_landmarks
from tests.real_weights import face_finder, real_metric
from tests.tiny import TINY_GENERATOR, tiny_generator
from tests.unit.test_scoring import scorer

pytestmark = pytest.mark.real_weights


@pytest.fixture
def photographs(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "first.png", tmp_path / "second.png"
    for path, seed in zip(paths, (3, 15), strict=True):
        Image.fromarray(generated_face(seed)).resize((512, 512)).save(path)
    return paths


@pytest.fixture
def pair_scorer() -> PairScorer:
    return PairScorer(scorer(), AnchorScorer(tiny_generator(), real_metric(), Anchors(count=2)))


def test_both_methods_score_both_photographs(photographs: tuple[Path, Path], pair_scorer: PairScorer) -> None:
    found = pair_scorer.score(*photographs)
    assert isinstance(found, PairScores)
    assert tuple(found.scores) == METHODS
    for n, path in enumerate(photographs):
        alone = scorer().score_file(path)
        assert isinstance(alone, Scored)
        pair = found.scores["normalization"]
        assert (pair.before, pair.after)[n] == alone.score.value
    anchors = found.scores["anchors"]
    assert anchors.before != anchors.after
    assert anchors.difference == pytest.approx(100 * (anchors.after / anchors.before - 1))
    backwards = pair_scorer.score(*photographs[::-1])
    assert isinstance(backwards, PairScores)
    assert backwards.scores["anchors"].before == anchors.after
    assert summaries([found])["anchors"].mean_difference == anchors.difference


def test_landmarks_placed_beside_a_photograph_count_for_both_methods(
    photographs: tuple[Path, Path], pair_scorer: PairScorer
) -> None:
    found = pair_scorer.score(*photographs)
    beside = photographs[0].with_name("first.png.landmarks.json")
    beside.write_text(json.dumps({"landmarks": (usual_landmarks() / 2).tolist()}))
    placed = pair_scorer.score(*photographs)
    assert isinstance(found, PairScores)
    assert isinstance(placed, PairScores)
    for method in METHODS:
        assert placed.scores[method].before != found.scores[method].before
        assert placed.scores[method].after == found.scores[method].after


def test_a_photograph_without_a_face_rejects_the_pair(
    photographs: tuple[Path, Path], pair_scorer: PairScorer, tmp_path: Path
) -> None:
    Image.fromarray(np.full((300, 300, 3), 120, np.uint8)).save(tmp_path / "grey.png")
    grey = tmp_path / "grey.png"
    for pair, which in (((photographs[0], grey), "post: "), ((grey, photographs[0]), "pre: ")):
        found = pair_scorer.score(*pair)
        assert isinstance(found, Rejection)
        assert found.reason == RejectionReason.NO_FACE
        assert found.detail.startswith(which)
    assert face_finder() is not None


def run(table: Path, *options: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["pairs", str(table), "--generator", str(TINY_GENERATOR), *options])
    return done.exit_code, done.stdout, done.stderr


def test_command_prints_what_each_method_detects(photographs: tuple[Path, Path], tmp_path: Path) -> None:
    Image.fromarray(np.full((300, 300, 3), 120, np.uint8)).save(tmp_path / "grey.png")
    table = tmp_path / "pairs.csv"
    table.write_text("pre,post\nfirst.png,second.png\nfirst.png,grey.png\n")
    status, printed, _ = run(table, "--json")
    assert status == 1
    found = json.loads(printed)
    assert found["pairs"][1]["pair"] == 2
    assert "face" in found["pairs"][1]["reason"]
    for method in METHODS:
        one = found["pairs"][0][method]
        assert found["summary"][method]["pairs"] == 1
        assert found["summary"][method]["mean_difference"] == pytest.approx(one["difference"])
        assert found["summary"][method]["improved"] == (100 if one["after"] > one["before"] else 0)
    assert found["provenance"]["regressor_is_synthetic"] is True
    table.write_text("pre,post\nfirst.png,second.png\n")
    status, printed, _ = run(table)
    assert status == 0
    assert "improved" in printed
    assert "not from ratings by people" in " ".join(printed.split())
    assert "first" not in printed


def test_a_reason_is_printed_whole(photographs: tuple[Path, Path], tmp_path: Path) -> None:
    photographs[0].with_name("first.png.landmarks.json").write_text('{"landmarks": []}')
    table = tmp_path / "pairs.csv"
    table.write_text("pre,post\nfirst.png,second.png\n")
    status, printed, _ = run(table)
    assert status == 1
    assert "68 points [x, y]; it has 0" in " ".join(printed.replace("│", "").split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("before,after\nfirst.png,second.png\n", "column 'pre'"),
        ("pre,post\n", "no pair"),
        ("pre,post\nfirst.png,second.png\nfirst.png,\n", "line 3"),
        ("pre,post\nfirst.png,elsewhere.png\n", "line 2"),
        (f"pre,post\nfirst.png,{300 * 'elsewhere'}\n", "line 2"),
    ],
)
def test_wrong_tables_are_refused_with_the_place(
    photographs: tuple[Path, Path], tmp_path: Path, content: str, message: str
) -> None:
    assert all(path.exists() for path in photographs)
    table = tmp_path / "pairs.csv"
    table.write_text(content)
    status, _, said = run(table)
    assert status == 2
    assert message in said
    assert "elsewhere" not in said
