"""The node killed at random moments: nothing acknowledged is lost, nothing is done twice, all agrees."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage, VLPhotographicImageStorage

from dicom_node.caller import Caller
from tests.faces import generated_face
from tests.figures import note
from tests.integration.running_node import STUDY, NodeUnderTest, kill, running, wait_until, write_photograph
from tests.peers import LOOPBACK, Modality, OrthancPeer, free_port, running_orthanc
from tests.s3_server import Place
from tests.small_scorer import executions

TINY = Path(__file__).parents[1] / "data" / "tiny.safetensors"
_STUDIES = 4
_FACES = 4
_FACE_SIDE = 512
# Longer than a study is quiet, and a sweep away.
_SETTLE_SECONDS = 3.0
# A machine may be busy with other things.
_START_SECONDS = 300


@dataclass(frozen=True)
class _Node:
    port: int
    host: str = LOOPBACK
    ae_title: str = "FACENORM"
    tls: bool = False


@dataclass
class _Camera:
    """Sends photographs without a pause, again and again until each has its Success."""

    node: NodeUnderTest
    random: Random
    waiting: list[Path]
    acknowledged: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def sending(self) -> Iterator[None]:
        self._stop.clear()
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=30)

    def _run(self) -> None:
        while self.waiting and not self._stop.is_set():
            caller = Caller(ae_title="CAMERA", association_seconds=5, response_seconds=5)
            opened = caller.associate(_Node(self.node.port), [(VLPhotographicImageStorage, None)])
            try:
                while opened.is_established and self.waiting and not self._stop.is_set():
                    path = self.random.choice(self.waiting)
                    if opened.send_c_store(dcmread(path)).get("Status") != 0x0000:
                        break
                    self.acknowledged.append(path.stem)
                    self.waiting.remove(path)
                    time.sleep(self.random.uniform(0, 0.4))
            except (RuntimeError, OSError):
                pass  # the node was killed
            finally:
                if opened.is_established:
                    opened.release()
            time.sleep(0.1)


def _kill_at_random(node: NodeUnderTest, random: Random, lives_seconds: float) -> str:
    """Start the node and kill it within so long; return what it had said last."""
    with (node.folder / "output.txt").open("ab") as output:
        process = subprocess.Popen(node.command(seconds=0.2), stdout=output, stderr=subprocess.STDOUT)
    before = len(node.output)
    try:
        if random.random() < 0.1:
            time.sleep(random.uniform(0, 2))  # in the midst of the start
        else:
            # A node that scores and sends is ready; most kills shall find it at that.
            said = "receiver started" if random.random() < 0.2 else "[info     ] ready"
            wait_until(lambda: said in node.output[before:], _START_SECONDS, said)
            time.sleep(random.uniform(0, lives_seconds))
        assert process.poll() is None, node.output[-2000:]
    finally:
        kill(process)
    said = [line for line in node.output[before:].splitlines() if "[info" in line]
    return said[-1].split("] ", 1)[1].split("  ")[0] if said else "nothing"


def _scored(node: NodeUnderTest) -> set[str]:
    """Return the photographs whose scores are committed in the database of a node that does not run."""
    database = node.data / "facenorm.sqlite"
    if not database.exists():
        return set()
    query = "SELECT sop_instance_uid FROM photograph JOIN scoring ON scoring.photograph_pk = photograph.id"
    with closing(sqlite3.connect(database)) as connection:
        try:
            return {row[0] for row in connection.execute(query)}
        except sqlite3.OperationalError:  # killed before there were tables
            return set()


def _everything_once(node: NodeUnderTest, orthanc: OrthancPeer, acknowledged: list[str]) -> None:
    held = orthanc.datasets()
    images = [item for item in held if item.SOPClassUID == SecondaryCaptureImageStorage]
    reports = [item for item in held if item.SOPClassUID == Comprehensive3DSRStorage]
    sources = [str(image.SourceImageSequence[0].ReferencedSOPInstanceUID) for image in images]
    assert sorted(sources) == sorted(acknowledged)
    assert len(orthanc.instance_ids()) == len(images) + len(reports)
    # Every photograph is reported, and no report was made twice. A successor covers more than the one before,
    # or the same in view of an earlier encounter that was scored later; then it names the one before.
    covered = [_sources(report) for report in reports]
    assert set().union(*covered) == set(acknowledged)
    for photographs in set(covered):
        same = [report for report in reports if _sources(report) == photographs]
        uids = {str(report.SOPInstanceUID) for report in same}
        assert sum(bool(uids & _predecessors(report)) for report in same) == len(same) - 1


def _sources(report: Dataset) -> frozenset[str]:
    """Return the photographs that a report is about."""
    return frozenset(
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
        if item.ReferencedSOPClassUID == VLPhotographicImageStorage
    )


def _predecessors(report: Dataset) -> set[str]:
    """Return the reports that this one succeeds."""
    return {
        str(item.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence") or ()
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def _torment(
    tmp_path: Path,
    *,
    kills: int,
    photographs: int,
    seed: int,
    generator: Path | None = None,
    files: str = "",
) -> None:
    random = Random(seed)
    (tmp_path / "node").mkdir()
    node = NodeUnderTest(
        folder=tmp_path / "node",
        destination_port=free_port(),
        storage_commitment=True,
        delivery="commitment_timeout_seconds = 5",
        generator=generator,
        files=files,
    )
    paths = [
        write_photograph(
            node.folder,
            f"{STUDY}.{n % _STUDIES}.{n}",
            brightness=60 + n % 180,
            picture=_face(n % _FACES) if generator else None,
            study=f"{STUDY}.{n % _STUDIES}",
        )
        for n in range(photographs)
    ]
    camera = _Camera(node, random, list(paths))
    with running_orthanc(
        tmp_path / "orthanc",
        dicom_port=node.destination_port,
        modalities=[Modality("FACENORM", node.port)],
    ) as orthanc:
        moments = []
        scored: dict[str, int] = {}
        with camera.sending():
            for _ in range(kills):
                # A generator's weights take their time, and a scoring its second.
                moments.append(_kill_at_random(node, random, 8.0 if generator else 2.5))
                begun = Counter(executions(node.scorer_log, "begin"))
                scored = {uid: begun[uid] for uid in _scored(node)} | scored
        sent_under_fire = len(camera.acknowledged)
        with running(node), camera.sending():
            settle(node, camera, photographs, 1200)
        _everything_once(node, orthanc, camera.acknowledged)
    # No scoring that was finished, and so committed, was run again.
    begun = Counter(executions(node.scorer_log, "begin"))
    assert {uid: begun[uid] for uid in scored} == scored
    assert "IntegrityError" not in node.output
    repaired, checked = node.facenorm("check", "--repair"), node.facenorm("check")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert (checked.returncode, checked.stdout.splitlines()[0]) == (0, "Files and database agree.")
    assert "Deliveries that are under way: 0" in checked.stdout
    of_small_scorer = {
        "scorings_cut_off_and_run_again": begun.total() - photographs,
        "of_these_just_before_the_commit": len(executions(node.scorer_log, "end")) - photographs,
    }
    note(
        "kills, tiny generator" if generator else "kills",
        kills=kills,
        seed=seed,
        photographs=photographs,
        acknowledged_between_kills=sent_under_fire,
        scored_between_kills=len(scored),
        **({} if generator else of_small_scorer),
        last_said_before_the_kill={moment: moments.count(moment) for moment in sorted(set(moments))},
        results_removed_by_check=repaired.stdout.count("removed:"),
        photographs_recorded_by_check=repaired.stdout.count("recorded,"),
    )


def settle(node: NodeUnderTest, camera: _Camera, photographs: int, seconds: float) -> None:
    """Return once everything was acknowledged, and within so many seconds more every result committed."""
    wait_until(lambda: not camera.waiting, 600, "every photograph to be acknowledged")
    wait_until(lambda: _nothing_to_do(node, photographs), seconds, "every result to be committed")
    time.sleep(_SETTLE_SECONDS)
    wait_until(lambda: _nothing_to_do(node, photographs), 60, "the last report")


def _nothing_to_do(node: NodeUnderTest, photographs: int) -> bool:
    metrics = node.metrics()
    return bool(
        all(
            line in metrics
            for line in (
                f'facenorm_scorings_total{{status="scored"}} {photographs}.0',
                'facenorm_deliveries{state="due"} 0.0',
                'facenorm_deliveries{state="uncommitted"} 0.0',
                'facenorm_deliveries{state="dead"} 0.0',
                'facenorm_workflows{state="pending"} 0.0',
                'facenorm_workflows{state="enqueued"} 0.0',
            )
        )
        and (node.generator or len(set(executions(node.scorer_log, "end"))) == photographs)
    )


def _face(seed: int) -> NDArray[np.uint8]:
    side = (_FACE_SIDE, _FACE_SIDE)
    return np.asarray(cv2.resize(generated_face(seed), side, interpolation=cv2.INTER_AREA), np.uint8)


def test_a_few_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    _torment(tmp_path, kills=2, photographs=6, seed=7)


@pytest.mark.torture
def test_a_few_kills_with_the_files_in_a_bucket_lose_and_double_nothing(
    tmp_path: Path, bucket: Place
) -> None:
    _torment(tmp_path, kills=2, photographs=3, seed=11, files=bucket.lines)
    assert len(bucket.paths("photograph/")) == 3
    assert not (tmp_path / "node" / "data" / "photograph").exists()


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_sixty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    _torment(tmp_path, kills=60, photographs=80, seed=60)


@pytest.mark.torture
@pytest.mark.real_weights
@pytest.mark.timeout(7200)
def test_fifty_kills_of_a_node_with_the_tiny_generator(tmp_path: Path) -> None:
    _torment(tmp_path, kills=50, photographs=60, seed=50, generator=TINY)
