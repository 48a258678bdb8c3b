"""`facenorm score` as its users call it: files, an exit status. The generator is the tiny one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from tests.command import facenorm
from tests.faces import generated_face
from tests.landmarks import usual_landmarks
from tests.peers import run_tool
from tests.pictures import known_rgb, native_dataset, write_native

TINY = Path(__file__).parents[1] / "data" / "tiny.safetensors"
KEYS = ["photo", "status", "reason", "score", "uncertainty", "features", "generator", "regressor", "seconds"]
FEATURES = ["d_xperc", "d_xstr", "d_xpsnr", "d_wbc", "d_wcorr"]
KINDS = ("aligned", "masked", "normalized", "difference", "anomaly", "in_place")
NAME, BORN = "TEST^SCORED", "1970TEST"  # a birth date that no DICOM library takes without complaint


def score(*arguments: str | Path, generator: Path | None = TINY) -> subprocess.CompletedProcess[str]:
    return facenorm("score", *arguments, *(["--generator", generator] if generator else []))


def score_in_a_process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("facenorm"), "score", *arguments, "--generator", TINY]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def answer(finished: subprocess.CompletedProcess[str], status: int) -> list[dict[str, Any]]:
    assert finished.returncode == status, finished.stderr
    found = json.loads(finished.stdout)  # the array and nothing else
    assert isinstance(found, list)
    return found


def picture(path: Path, rgb: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rgb).save(path, quality=92)
    return path


def face_dataset() -> Dataset:
    dataset = native_dataset(generated_face(15))
    dataset.PatientName, dataset.PatientBirthDate = NAME, "19700102"
    return dataset


def face_dicom(folder: Path, dataset: Dataset) -> Path:
    path = write_native(folder / f"{NAME.replace('^', '_')}.dcm", dataset)
    path.write_bytes(path.read_bytes().replace(b"19700102", BORN.encode()))
    return path


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    return picture(tmp_path / "face.jpg", generated_face(15))


@pytest.fixture
def faceless(tmp_path: Path) -> Path:
    return picture(tmp_path / "faceless [b].png", known_rgb())


def test_jpeg_png_and_dicom_give_the_json_of_the_contract_in_order(tmp_path: Path, jpeg: Path) -> None:
    png = picture(tmp_path / "face.png", generated_face(15))
    native = face_dicom(tmp_path, face_dataset())
    run_tool("img2dcm", "-k", f"PatientName={NAME}", jpeg, tmp_path / "jpeg.dcm")
    photographs = [jpeg, native, png, tmp_path / "jpeg.dcm"]
    finished = score_in_a_process(*photographs, "--json")
    found = answer(finished, 0)
    assert [one["photo"] for one in found] == [str(path) for path in photographs]
    for one in found:
        assert list(one)[: len(KEYS)] == KEYS
        assert list(one["features"])[: len(FEATURES)] == FEATURES
        assert (one["status"], one["reason"], one["generator"]) == ("scored", None, "tiny-test")
        assert one["regressor"] == "tiny-test-line"
        assert 1 <= one["score"] <= 7
        assert one["uncertainty"] > 0
        assert one["seconds"]["normalize"] > 0
        assert one["provenance"]["regressor_is_synthetic"] is True
    # The same pixels, the same numbers; another person's encoder of the same JPEG stream changes nothing.
    assert found[1]["features"] == found[2]["features"]
    assert found[3]["features"] == pytest.approx(found[0]["features"], rel=0.05)
    assert found[0]["features"] != found[1]["features"]
    for secret in (NAME, BORN, "1970"):
        assert secret not in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_rejected_photograph_has_the_same_keys_and_a_reason(jpeg: Path, faceless: Path) -> None:
    rejected, scored = answer(score(faceless, jpeg, "--json"), 1)
    assert list(rejected) == list(scored)
    assert (rejected["status"], rejected["score"], rejected["uncertainty"]) == ("rejected", None, None)
    assert rejected["features"] == dict.fromkeys(FEATURES)
    assert "No frontal face" in rejected["reason"]
    assert rejected["reason_code"] == "no_face"
    assert scored["status"] == "scored"


def test_a_file_that_fails_when_it_is_read_costs_no_other_photograph_its_score(jpeg: Path) -> None:
    broken = "/proc/self/mem"  # an ordinary file to every check; reading it is an input/output error
    finished = score(jpeg, broken, jpeg, "--json")
    found = answer(finished, 1)
    assert [one["status"] for one in found] == ["scored", "rejected", "scored"]
    assert list(found[1]) == list(found[0])
    assert "Input/output error" in found[1]["reason"]
    assert found[1]["score"] is None
    assert "Traceback" not in finished.stderr


def test_pictures_that_cannot_be_written_cost_no_score(jpeg: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "face-aligned.png.part").mkdir(parents=True)  # where the picture is put together
    other = picture(tmp_path / "other.jpg", generated_face(15))
    finished = score(jpeg, other, "--json", "--output-dir", folder)
    found = answer(finished, 1)
    assert [one["status"] for one in found] == ["scored", "scored"]
    assert [len(one["pictures"]) for one in found] == [0, 6]
    assert f"{jpeg}: its pictures could not be written (Is a directory)" in " ".join(finished.stderr.split())


def test_the_table_names_scores_reasons_and_what_they_rest_on(jpeg: Path, faceless: Path) -> None:
    finished = score(jpeg, faceless, "--seed", "7")
    assert finished.returncode == 1, finished.stderr
    said = " ".join(finished.stdout.replace("│", " ").split())
    for text in ("±", "d_xpsnr", "rejected", "No frontal face", "[b].png", "tiny-test-line", "seed 7"):
        assert text in said
    assert "Synthetic regressor" in said
    assert "For research use only. Not a medical device." in said


def test_pictures_are_named_without_patient_data_and_never_overwrite_another_photographs(
    tmp_path: Path, jpeg: Path
) -> None:
    dataset = face_dataset()
    namesake = picture(tmp_path / "other" / "face.jpg", generated_face(3))
    photographs = (jpeg, namesake, face_dicom(tmp_path, dataset))
    folder = tmp_path / "new" / "pictures"
    found = answer(score(*photographs, "--json", "--output-dir", folder), 0)
    names = ["face", "face-2", str(dataset.SOPInstanceUID)]
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{n}-{k}.png" for n in names for k in KINDS)
    for one, name in zip(found, names, strict=True):
        assert one["pictures"] == {kind: str(folder / f"{name}-{kind}.png") for kind in KINDS}
    shown = {path.name: np.asarray(Image.open(path)) for path in folder.iterdir()}
    assert all(array.shape == (1024, 1024, 3) for array in shown.values())
    # A generated face lies in the aligned frame already, so what comes out is nearly what went in.
    for name, seed in (("face", 15), ("face-2", 3)):
        assert np.abs(shown[f"{name}-aligned.png"].astype(int) - generated_face(seed)).mean() < 20
    outside = shown["face-masked.png"][0, 0]
    assert outside.tolist() == [127, 127, 127]
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = answer(score(namesake, "--json", "--output-dir", folder), 0)
    assert again[0]["pictures"] == found[1]["pictures"]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument"),
        (("absent.jpg",), "does not exist"),
        ((".",), "is a directory"),
        (("face.jpg", "--profile", "slow"), "slow"),
        (("face.jpg", "--device", "abacus"), "device 'abacus' cannot be used"),
        (("face.jpg", "--regressor", "absent.json"), "absent.json cannot be read"),
        (("face.jpg", "--generator", "nobody"), "'nobody' is neither"),
        (("face.jpg", "--generator", "absent.safetensors"), "scoring.generator: there is no file /"),
        (("face.jpg", "--output-dir", "face.jpg"), "is a file"),
        (("face.jpg", "--config", "absent.toml"), "absent.toml"),
        (("face.jpg", "face.jpg", "--landmarks", "face.jpg"), "goes with one photograph"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_a_message(
    jpeg: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(jpeg.parent)
    finished = score(*arguments, generator=None if "--generator" in arguments else TINY)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert message in " ".join(finished.stderr.split())
    assert "Traceback" not in finished.stderr


def test_weights_that_were_not_fetched_are_named_with_the_command_that_gets_them(
    jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACENORM_CACHE", str(tmp_path / "empty"))
    finished = score(jpeg, "--json")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "run `facenorm models fetch`" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_settings_choose_where_no_option_does(jpeg: Path, tmp_path: Path) -> None:
    config = tmp_path / "facenorm.toml"
    config.write_text(f'[scoring]\ngenerator = "{TINY}"\nprofile = "reference"\nseed = 5\n')
    (found,) = answer(score(jpeg, "--json", "--config", config, generator=None), 0)
    assert (found["provenance"]["profile"], found["provenance"]["seed"]) == ("reference", 5)
    (found,) = answer(score(jpeg, "--json", "--config", config, "--profile", "fast", generator=None), 0)
    assert (found["provenance"]["profile"], found["provenance"]["seed"]) == ("fast", 5)


def test_landmarks_that_a_person_placed_are_used_and_told(tmp_path: Path, jpeg: Path) -> None:
    covered = generated_face(15).copy()
    covered[300:] = 120
    hidden = picture(tmp_path / "hidden.jpg", covered)
    beside = tmp_path / "hidden.jpg.landmarks.json"
    beside.write_text(json.dumps({"landmarks": usual_landmarks().tolist()}))
    damaged = picture(tmp_path / "damaged.jpg", generated_face(15))
    (tmp_path / "damaged.jpg.landmarks.json").write_text('{"landmarks": [[1, 2]]}')
    config = tmp_path / "facenorm.toml"
    config.write_text("[quality]\nwarned_landmark_spread = 0.0\nrejected_sharpness = 0.0\n")
    placed, refused, found = answer(score(hidden, beside, damaged, jpeg, "--json", "--config", config), 1)
    assert placed["status"] == "scored"
    assert "landmarks_by_person" in {warning["issue"] for warning in placed["warnings"]}
    assert (refused["reason_code"], refused["warnings"]) == ("unusable_landmarks", None)
    assert "it has 1" in refused["reason"]
    assert {warning["issue"] for warning in found["warnings"]} == {"unsteady_landmarks"}
    assert found["provenance"]["settings"]["quality.warned_landmark_spread"] == 0.0
