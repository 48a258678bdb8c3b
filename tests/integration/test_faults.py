"""What may go wrong around the node, each with a real fault, what peers see of it, and that it passes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from dicom_node.outbox import Backoff, Outbox
from dicom_node.sender import Sender
from storage.deliveries import count_deliveries, waiting
from storage.tables import Photograph
from tests.integration.faults import locked, no_file_grows_beyond, read_only, without_override
from tests.peers import LOOPBACK, free_port, running_orthanc
from tests.receiving import RunningReceiver, photograph, receiving_process, running_receiver, send
from tests.unit.rows import NOON, add_object, database

SUCCESS, OUT_OF_RESOURCES, PROCESSING_FAILURE = 0x0000, 0xA700, 0x0110

_SERVING = """
import signal, sys, time
from pathlib import Path
from tests.receiving import running_receiver
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with running_receiver(Path(sys.argv[1])) as receiver:
    Path(sys.argv[2]).write_text(str(receiver.port))
    time.sleep(120)
"""


@contextmanager
def _receiving_process(tmp_path: Path) -> Iterator[tuple[RunningReceiver, subprocess.Popen[bytes]]]:
    """A receiver in a process of its own that file permissions bind, and a file of its errors."""
    folder, port_file = tmp_path / "data", tmp_path / "port"
    command = without_override([sys.executable, "-c", _SERVING, str(folder), str(port_file)])
    with receiving_process(command, folder, port_file) as running:
        yield running


def test_a_folder_that_became_read_only_and_a_full_disk_are_refused_and_pass(tmp_path: Path) -> None:
    first, second, third = photograph(), photograph(), photograph()
    with _receiving_process(tmp_path) as (receiver, process):
        assert send(receiver, first) == [SUCCESS]
        with read_only(receiver.folder):
            assert send(receiver, second) == [OUT_OF_RESOURCES]
        assert send(receiver, second) == [SUCCESS]
        size = (receiver.folder / receiver.rows(Photograph)[0].path).stat().st_size
        with no_file_grows_beyond(process, size // 2):
            assert send(receiver, third) == [OUT_OF_RESOURCES]
            # Nothing is left of the attempt.
            assert not list(receiver.folder.rglob(".partial-*"))
        assert len(receiver.files("photograph")) == 2
        # Room for the file, none for the database: its log cannot grow.
        log = receiver.folder / "facenorm.sqlite-wal"
        assert log.stat().st_size > size
        with no_file_grows_beyond(process, log.stat().st_size):
            assert send(receiver, third) == [PROCESSING_FAILURE]
        assert send(receiver, third) == [SUCCESS]
        assert len(receiver.rows(Photograph)) == len(receiver.files("photograph")) == 3
        assert process.poll() is None


def test_a_database_locked_by_another_process_is_waited_for_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = photograph()
    # The wait is 30 s in service.
    monkeypatch.setattr("storage.database._BUSY_SECONDS", 2)
    with running_receiver(tmp_path / "data") as receiver:
        with locked(receiver.folder / "facenorm.sqlite"):
            began = time.monotonic()
            assert send(receiver, source) == [PROCESSING_FAILURE]
            assert time.monotonic() - began >= 2
        assert send(receiver, source) == [SUCCESS]
        assert len(receiver.rows(Photograph)) == 1


def test_the_watermark_refuses_politely_and_lets_in_again_when_there_is_room(tmp_path: Path) -> None:
    statistics = os.statvfs(tmp_path)
    free = statistics.f_bavail * statistics.f_frsize
    ballast = tmp_path / "ballast"
    # The disk's free space shrinks by a file that takes up real blocks.
    with running_receiver(
        tmp_path / "data", data={"minimum_free_megabytes": (free - 2**30) // 1_000_000}
    ) as receiver:
        assert send(receiver, photograph()) == [SUCCESS]
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2 * 2**30)
        assert send(receiver, photograph()) == [OUT_OF_RESOURCES]
        ballast.unlink()
        assert send(receiver, photograph()) == [SUCCESS]


@dataclass
class _Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class _Archive:
    port: int
    ae_title: str = "ORTHANC"
    host: str = LOOPBACK
    tls: bool = False
    storage_commitment: bool = False


def test_a_destination_that_is_down_for_an_hour_gets_everything_then(tmp_path: Path) -> None:
    source = photograph()
    source.save_as(tmp_path / "result.dcm", enforce_file_format=True)
    kept, clock = database(tmp_path), _Clock()
    with kept.begin() as session:
        add_object(session, source.SOPInstanceUID, ["ORTHANC"], path="result.dcm")
    outbox = Outbox(
        sessions=kept,
        resolve=lambda path: tmp_path / path,
        sender=Sender(ae_title="FACENORM", connect_seconds=2, association_seconds=5, response_seconds=5),
        clock=clock,
        random=Random(7),
        backoff=Backoff(first_seconds=5, longest_seconds=3600, attempts=130),
    )
    archive, attempts, up = _Archive(free_port()), 0, NOON + timedelta(hours=1)
    while clock.now < up:
        assert outbox.deliver_due(archive) == 0
        attempts += 1
        with kept() as session:
            (delivery,) = waiting(session)
        assert (delivery.error, delivery.attempts) == ("no_association", attempts)
        clock.now = delivery.due_at
    assert 8 <= attempts <= 12  # 5 s, doubling, each shortened by up to a half
    with running_orthanc(tmp_path / "orthanc", dicom_port=archive.port) as orthanc:
        assert outbox.deliver_due(archive) == 1
        assert orthanc.instance_uids() == [source.SOPInstanceUID]
    assert clock.now - up < timedelta(hours=1)
    with kept() as session:
        assert count_deliveries(session)["delivered"] == 1
