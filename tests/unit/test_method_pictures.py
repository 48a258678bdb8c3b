"""`facenorm losses` and `facenorm iterates`: a PNG each, the terms on standard output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.picture_sheet import Tile, draw_sheet
from tests.faces import generated_face
from tests.tiny import TINY_GENERATOR


def run(command: str, photograph: Path, output: Path, *options: str) -> tuple[int, str, str]:
    words = [command, str(photograph), "--output", str(output), "--generator", str(TINY_GENERATOR)]
    done = CliRunner().invoke(app, [*words, "--device", "cpu", *options])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    Image.fromarray(generated_face(15)).resize((512, 512)).save(tmp_path / "face.png")
    return tmp_path / "face.png"


@pytest.mark.real_weights
def test_losses_are_drawn_as_a_grid_of_nine(photograph: Path, tmp_path: Path) -> None:
    output = tmp_path / "grid.png"
    status, said, trouble = run(
        "losses", photograph, output, "--profile", "fast", "--steps", "2", "--size", "176"
    )
    assert status == 0, trouble
    lines = [line for line in said.splitlines() if "total" in line]
    assert [line.split()[0] for line in lines] == ["pixel"] * 3 + ["structural"] * 3 + ["perceptual"] * 3
    assert [line.split()[1] for line in lines] == ["mean_absolute", "mean_squared", "mean_exponential"] * 3
    for line in lines:
        words = line.split()
        total = 10 * float(words[3]) + float(words[5])
        assert float(words[7]) == pytest.approx(total, abs=1.5e-3)
    with Image.open(output) as grid:
        assert grid.width > 3 * 176
        assert grid.height > 3 * 176
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


@pytest.mark.real_weights
def test_iterates_are_drawn_as_a_strip(photograph: Path, tmp_path: Path) -> None:
    output = tmp_path / "strip.png"
    options = ("--profile", "fast", "--at", "4,0,2", "--size", "64")
    status, said, trouble = run("iterates", photograph, output, *options)
    assert status == 0, trouble
    lines = [line.split() for line in said.splitlines() if line.startswith("after")]
    assert [line[1] for line in lines] == ["0", "2", "4"]
    assert float(lines[0][6]) == 0  # it begins at the average face
    assert float(lines[-1][4]) < float(lines[0][4])
    content = output.read_bytes()
    assert run("iterates", photograph, output, *options)[0] == 0
    assert output.read_bytes() == content
    assert run("iterates", photograph, output, *options, "--seed", "3")[0] == 0


@pytest.mark.real_weights
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--profile", "none"), "--profile"),
        (("--profile", "newton"), "adam"),
        (("--at", "ten"), "--at"),
        (("--at", "-1,5"), "--at"),
        (("--device", "nowhere"), "nowhere"),
    ],
)
def test_wrong_usage_says_which_option(
    photograph: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    status, _, said = run("iterates", photograph, tmp_path / "strip.png", "--size", "64", *options)
    assert status == 2
    assert message in said


@pytest.mark.parametrize("command", ["losses", "iterates"])
def test_settings_that_cannot_be_used_are_told_in_a_line(
    photograph: Path, tmp_path: Path, command: str
) -> None:
    config = tmp_path / "facenorm.toml"
    config.write_text('[scoring]\nprofil = "fast"\n')
    status, _, said = run(command, photograph, tmp_path / "picture.png", "--config", str(config))
    assert status == 2
    assert "scoring.profil: there is no such key; did you mean profile?" in said


@pytest.mark.parametrize("command", ["losses", "iterates"])
def test_a_folder_that_is_not_there_is_told_before_the_picture_is_made(
    photograph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    begun: list[object] = []
    monkeypatch.setattr("dicom_node.commands.method_pictures._subject", lambda *given: begun.append(given))
    status, _, said = run(command, photograph, tmp_path / "nowhere" / "picture.png")
    assert status == 2
    assert f"--output: nothing can be written to {tmp_path / 'nowhere'}" in said
    assert not begun


@pytest.mark.real_weights
def test_photograph_without_a_face_ends_with_status_1(tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((300, 300, 3), 120, np.uint8)).save(grey)
    status, _, said = run("losses", grey, tmp_path / "grid.png", "--profile", "fast", "--size", "176")
    assert status == 1
    assert "face" in said
    assert not (tmp_path / "grid.png").exists()


@pytest.mark.real_weights
def test_structural_losses_need_a_size(tmp_path: Path, photograph: Path) -> None:
    status, _, said = run("losses", photograph, tmp_path / "grid.png", "--profile", "fast", "--size", "64")
    assert status == 2
    assert "161" in said


def test_sheet_places_every_picture_and_leaves_room_for_captions() -> None:
    shades = [np.full((20, 20, 3), shade, np.uint8) for shade in (10, 60, 110)]
    rows = [[Tile(shades[0], ("a",)), Tile(shades[1], ("b", "c"))], [Tile(shades[2], ())]]
    pixels = np.asarray(draw_sheet("title", rows, "notice"))
    for shade in (10, 60, 110):
        found = (pixels == shade).all(2)
        assert found.sum() >= 400
        assert found.sum() < 420
    tops = [np.argwhere((pixels == s).all(2))[:, 0].min() for s in (10, 110)]
    assert tops[1] - tops[0] >= 20 + 2 * 20
