"""A node of its own process on loopback, photographs to send it, and what it says of itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, VLPhotographicImageStorage

from tests.command import facenorm
from tests.peers import LOOPBACK, free_port, run_tool
from tests.plain_http import get, is_healthy

TOKEN = "a-token-for-these-tests"
PATIENT_NAME = "TEST^PATIENT"
PATIENT_ID = "TEST-4711"
STUDY = "1.2.826.0.1.3680043.9.1"


def write_photograph(
    folder: Path,
    uid: str,
    *,
    brightness: int = 128,
    picture: NDArray[np.uint8] | None = None,
    study: str = STUDY,
    patient: str = PATIENT_ID,
) -> Path:
    """Write an even grey VL Photographic Image of the test patient, or this picture; return its path."""
    pixels = np.full((64, 48, 3), brightness, np.uint8) if picture is None else picture
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = VLPhotographicImageStorage, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, patient
    dataset.PatientBirthDate, dataset.PatientSex = "19700102", "O"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260102", "120000", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "TEST-ACC", ""
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "XC", 1, 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = pixels.shape
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = pixels.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = VLPhotographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{uid}.dcm"
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


@dataclass(kw_only=True)
class NodeUnderTest:
    """Where a node's process finds its settings, and how to talk to it."""

    folder: Path
    destination_port: int
    destination: str = "ORTHANC"
    quiet_seconds: float = 0.5
    # One image of each photograph beside the report is enough for most tests.
    objects: tuple[str, ...] = ("normalized",)
    storage_commitment: bool = False
    # Weights of a generator; without them the small scorer scores.
    generator: Path | None = None
    # Further settings: lines of [delivery], [data] and [scoring], and whole tables at the end of the file.
    delivery: str = ""
    files: str = ""
    database_url: str = ""
    # Whether it scores itself; otherwise workers do.
    scores: bool = True
    scoring: str = ""
    further: str = ""
    port: int = field(default_factory=free_port)
    status_port: int = field(default_factory=free_port)

    @property
    def config(self) -> Path:
        """The settings file, written anew."""
        path = self.folder / "facenorm.toml"
        path.write_text(
            f"""
            [node]
            port = {self.port}
            [data]
            folder = "{self.data}"
            minimum_free_megabytes = 0
            database_url = "{self.database_url}"
            {self.files}
            [trigger]
            quiet_seconds = {self.quiet_seconds}
            [delivery]
            first_retry_seconds = 0.5
            max_retry_seconds = 1.0
            timeout_seconds = 5
            {self.delivery}
            [reports]
            objects = {json.dumps(self.objects)}
            [status]
            port = {self.status_port}
            token = "{TOKEN}"
            [[senders]]
            ae_title = "CAMERA"
            [[destinations]]
            ae_title = "{self.destination}"
            host = "{LOOPBACK}"
            port = {self.destination_port}
            storage_commitment = {str(self.storage_commitment).lower()}
            [scoring]
            device = "cpu"
            {self.scoring}
            {f'generator = "{self.generator}"' if self.generator else ""}
            {self.further}
            """
        )
        return path

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def scorer_log(self) -> Path:
        """What the small scorer did."""
        return self.folder / "scorer.log"

    @property
    def output(self) -> str:
        """What all processes of the node wrote to standard output and error."""
        return (self.folder / "output.txt").read_text()

    def command(self, *, seconds: float, seed: int = 0) -> list[str]:
        """Return the command line that serves, with the small scorer unless there is a generator."""
        if self.generator:
            return [str(Path(sys.executable).with_name("facenorm")), "serve", "--config", str(self.config)]
        arguments = [str(self.config), str(self.scorer_log), str(seconds), str(seed)]
        role = [] if self.scores else ["--no-score"]
        return [sys.executable, "-m", "tests.small_node", *arguments, *role]

    def worker_command(
        self, *, seconds: float, status_port: int, seed: int = 0, at_once: int = 1, fault: str = ""
    ) -> list[str]:
        """Return the command line of a worker beside the node, with the small scorer.

        at_once: photographs that its device takes together; fault: what the device answers each time.
        """
        arguments = [str(self.config), str(self.scorer_log), str(seconds), str(seed)]
        role = ["worker", str(status_port), str(at_once), fault]
        return [sys.executable, "-m", "tests.small_node", *arguments, *role]

    def send(self, *photographs: Path) -> None:
        """Send with DCMTK; fails the test unless every photograph was acknowledged."""
        run_tool("storescu", "-aet", "CAMERA", "-aec", "FACENORM", LOOPBACK, str(self.port), *photographs)

    def send_anyway(self, *photographs: Path) -> None:
        """Send with DCMTK, whatever the answers."""
        known = ("-aet", "CAMERA", "-aec", "FACENORM", LOOPBACK, str(self.port))
        run_tool("storescu", *known, *photographs, check=False)

    def health(self) -> httpx.Response:
        return get(f"http://{LOOPBACK}:{self.status_port}/health")

    def metrics(self) -> str:
        url = f"http://{LOOPBACK}:{self.status_port}/metrics"
        return get(url, headers={"Authorization": f"Bearer {TOKEN}"}).text

    def facenorm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call the command `facenorm` on this node's settings."""
        return facenorm(*arguments, "--config", self.config)


@contextmanager
def running(node: NodeUnderTest, *, seconds: float = 0.0, seed: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Run the node until the end of the block; it is ready when the block begins."""
    with (node.folder / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            node.command(seconds=seconds, seed=seed), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            lambda: process.poll() is not None or is_healthy(node.status_port), 120, "the node to be ready"
        )
        if process.poll() is not None:
            pytest.fail(f"the node ended with {process.returncode}:\n{node.output[-3000:]}")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, as a power failure would."""
    process.kill()
    process.wait(timeout=10)


def children(process: subprocess.Popen[bytes]) -> dict[int, str]:
    """Return the ids and command lines of the processes that the node has started."""
    found = {}
    for listed in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for number in listed.read_text().split():
            command = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ")
            found[int(number)] = command.decode()
    return found


def scoring_child(process: subprocess.Popen[bytes]) -> int:
    """Return the id of the node's scoring process."""
    (pid,) = (pid for pid, command in children(process).items() if "spawn_main" in command)
    return pid


def is_gone(pid: int) -> bool:
    """Whether no such process runs; one that only waits to be reaped does not."""
    try:
        # While other threads of it are still ending, it cannot be reaped.
        alone = len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
        return alone and "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: object, seconds: float, what: str) -> None:
    """Return once `condition()` holds; fail the test after `seconds`."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        # Often it is the node that is asked, which has other work to do.
        time.sleep(0.1)


def uids_of(photographs: Sequence[Path]) -> list[str]:
    """Return the UIDs that `write_photograph` gave."""
    return [path.stem for path in photographs]
