"""`facenorm demo` as a newcomer runs it, on the tiny generator: real node, real PACS, real C-STORE."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from dicom_node.demo.arrivals import Arrival, arrivals
from dicom_node.demo.photographs import Encounter, Photograph, write_photograph
from dicom_node.demo.results import difference_in_percent
from reports.normalized_photograph import SERIES_DESCRIPTION
from reports.reported_scores import ReportedScore
from tests.faces import generated_face
from tests.peers import require, run_tool

TINY = Path(__file__).parents[1] / "data" / "tiny.safetensors"
COMMAND = [str(Path(sys.executable).with_name("facenorm")), "demo"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo in `folder`, with its data in `folder`/data."""
    options = ["--generator", str(TINY), "--folder", "data", *arguments]
    return subprocess.Popen(
        COMMAND + options,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # What a user's shell may hold must not reach the demo's node.
        env=os.environ | {"COLUMNS": "200", "FACENORM_NODE__PORT": "1", "FACENORM_SENDERS": "[]"},
        # A shell's background job inherits an ignored SIGINT, and so would this child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    process = start(folder, *arguments)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def children(pid: int) -> list[int]:
    """Return the processes of which `pid` is the parent."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]


def alive(pid: int) -> bool:
    """Whether it runs; one that ended and was waited for is gone from /proc."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("pacs", ["orthanc", pytest.param("builtin", marks=pytest.mark.torture)])
def test_both_encounters_come_back_and_make_one_picture(tmp_path: Path, pacs: str) -> None:
    if pacs == "orthanc":
        require("Orthanc")
    status, said = run(tmp_path, "--pacs", pacs)
    assert status == 0, said
    assert ("Orthanc" in said) == (pacs == "orthanc")
    for text in ("2025-03-10", "2025-09-15", "± 0.5", "Detected difference", "Everything came back"):
        assert text in said
    assert said.count("report in the PACS") == said.count("normalized image in the PACS") == 2
    assert "For research use only. Not a medical device." in said
    assert "Synthetic regressor" in said
    picture = np.asarray(Image.open(tmp_path / "facenorm-demo.png"))
    assert picture.ndim == 3
    assert picture.shape[0] > 1000
    # Neither a white sheet nor one photograph twice.
    assert picture.std() > 20
    assert not list(tmp_path.glob("*.part"))
    if pacs == "builtin":
        held = [dcmread(path) for path in (tmp_path / "data" / "pacs").glob("*.dcm")]
        # Normalized, in place and comparison of each, and one trend over both.
        images = [SecondaryCaptureImageStorage] * 7
        classes = [Comprehensive3DSRStorage] * 2 + [EncapsulatedPDFStorage] * 2 + images
        assert sorted(o.SOPClassUID for o in held) == sorted(classes)
        assert {o.PatientID for o in held} == {"FACENORM-TEST-1"}
        assert len({o.StudyInstanceUID for o in held}) == 2


def test_results_that_do_not_come_in_time_fail_it_and_are_named(tmp_path: Path) -> None:
    weights = tmp_path / "slow.safetensors"
    shutil.copy(TINY, weights)
    shutil.copy(TINY.with_name("tiny-regressor.json"), tmp_path)
    card = json.loads(TINY.with_suffix(".json").read_text())
    card["profiles"]["fast"]["steps"] = 1_000_000
    weights.with_suffix(".json").write_text(json.dumps(card))
    status, said = run(tmp_path, "--pacs", "builtin", "--timeout-seconds", "6", "--generator", str(weights))
    assert status == 1, said
    assert said.count("received by the node") == 2
    assert said.count("no report, no normalized image") >= 2
    assert f"The node's log: {tmp_path / 'data' / 'node' / 'node.log'}" in said
    assert "study queued" in (tmp_path / "data" / "node" / "node.log").read_text()
    assert not (tmp_path / "facenorm-demo.png").exists()


def test_a_node_that_cannot_start_fails_it_with_the_nodes_own_words(tmp_path: Path) -> None:
    status, said = run(tmp_path, "--pacs", "builtin", "--regressor", "absent.json")
    assert status == 1, said
    assert f"scoring.regressor: there is no file {tmp_path / 'absent.json'}" in said
    assert f"Data and logs: {tmp_path / 'data'}" in said
    assert "Traceback" not in said


def test_a_picture_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    status, said = run(tmp_path, "--output", "absent/picture.png")
    assert status == 2, said
    assert "--output" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_takes_node_and_pacs_with_it(tmp_path: Path, number: signal.Signals) -> None:
    require("Orthanc")
    process = start(tmp_path, "--pacs", "orthanc")
    try:
        deadline = time.monotonic() + 60
        while len(started := children(process.pid)) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert "Traceback" not in said
    assert not any(alive(child) for child in started)


def test_the_photographs_are_valid_and_hold_the_face(tmp_path: Path) -> None:
    photograph = write_photograph(tmp_path, Encounter("before", "20250310", generated_face(15)), 1)
    run_tool("dcmdjpeg", photograph.path, tmp_path / "plain.dcm")
    plain = dcmread(tmp_path / "plain.dcm")
    said = run_tool("dciodvfy", photograph.path, check=False).stdout
    assert "VLPhotographicImage" in said
    assert not [line for line in said.splitlines() if line.startswith("Error")]
    assert (plain.PatientName, plain.PatientID) == ("TEST^PATIENT", "FACENORM-TEST-1")
    assert plain.PhotometricInterpretation == "RGB"
    assert np.abs(plain.pixel_array.astype(int) - generated_face(15)).mean() < 4


def _reported(uid: str, score: float | None) -> ReportedScore:
    return ReportedScore(uid, "2.25.9", score, 0.5, None, {}, ())


def _photograph(uid: str) -> Photograph:
    return Photograph("before", "20250310", uid, Path("none.dcm"))


@pytest.mark.parametrize(
    ("reported", "images", "missing"),
    [
        ((4.0,), 1, ""),
        ((), 1, "no report"),
        ((4.0,), 0, "no normalized image"),
        ((), 0, "no report, no normalized image"),
        ((4.0, 4.0), 1, "report 2 times"),
        ((4.0,), 2, "normalized image 2 times"),
        ((None,), 1, "no score"),
    ],
)
def test_only_one_report_with_a_score_and_one_image_count_as_complete(
    reported: tuple[float | None, ...], images: int, missing: str
) -> None:
    found = Arrival(
        _photograph("2.25.1"), tuple(_reported("2.25.1", value) for value in reported), (Dataset(),) * images
    )
    assert found.missing == missing
    assert found.complete == (missing == "")


def test_results_of_other_photographs_are_not_counted() -> None:
    image = Dataset()
    image.SOPClassUID = SecondaryCaptureImageStorage
    image.SeriesDescription = SERIES_DESCRIPTION
    source = Dataset()
    source.ReferencedSOPInstanceUID = "2.25.2"
    image.SourceImageSequence = [source]
    first, second = arrivals([_photograph("2.25.1"), _photograph("2.25.2")], [image])
    assert first.normalized == ()
    assert second.normalized == (image,)


def test_the_detected_difference_is_the_papers() -> None:
    pair = [Arrival(_photograph("2.25.1"), (_reported("2.25.1", value),), ()) for value in (4.0, 5.0)]
    assert difference_in_percent(pair) == pytest.approx(25.0)
    assert difference_in_percent(pair[:1]) is None
