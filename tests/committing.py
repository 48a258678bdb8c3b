"""Both halves of a node that take part in storage commitment, and an archive that answers as it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE, evt

from dicom_node.caller import Caller
from dicom_node.commitment_dataset import build_report, read_request
from dicom_node.commitment_scp import CommitmentScp
from dicom_node.commitment_scu import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, CommitmentScu
from dicom_node.commitments import Commitments
from dicom_node.outbox import Backoff, Outbox
from dicom_node.receiver import Receiver
from dicom_node.sender import Sender
from storage.deliveries import count_deliveries
from storage.instances import InstanceStore
from tests.peers import LOOPBACK
from tests.receiving import photograph, receiver_settings
from tests.unit.rows import NOON, add_object, database

BACKOFF = Backoff(first_seconds=8, longest_seconds=100, attempts=3)


@dataclass
class Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Archive:
    """A PACS of pynetdicom's that answers Success to everything and keeps what it was asked."""

    report: Callable[[Any, str, list[tuple[str, str]]], None] = lambda *_: None
    stored: list[str] = field(default_factory=list)
    asked: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    ae_title: str = "PACS"
    host: str = LOOPBACK
    port: int = 0
    tls: bool = False
    storage_commitment: bool = True

    @contextmanager
    def serving(self) -> Iterator[None]:
        entity = AE(ae_title=self.ae_title)
        entity.add_supported_context(SecondaryCaptureImageStorage)
        entity.add_supported_context(STORAGE_COMMITMENT)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._ask)]
        server = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=handlers)
        self.port = server.server_address[1]
        try:
            yield
        finally:
            server.shutdown()

    def _store(self, event: Any) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _ask(self, event: Any) -> tuple[int, None]:
        request = read_request(event.action_information)
        self.asked.append(request)
        self.report(event.assoc, *request)
        return 0x0000, None


@dataclass
class Deliverer:
    """The sending half of a node on an injected clock, with one result for the archive."""

    outbox: Outbox
    commitments: Commitments
    clock: Clock
    sessions: Any

    def turn(self, archive: Archive) -> None:
        self.outbox.deliver_due(archive)
        self.commitments.ask_due(archive)

    def counts(self) -> dict[str, int]:
        with self.sessions() as session:
            return {state: number for state, number in count_deliveries(session).items() if number}


def sending_half(folder: Path, *, report_seconds: float = 2.0, archive: str = "PACS") -> Deliverer:
    source = photograph()
    source.save_as(folder / "result.dcm", enforce_file_format=True)
    sessions, clock = database(folder), Clock()
    with sessions.begin() as session:
        add_object(session, source.SOPInstanceUID, [archive], path="result.dcm")
    common = {"sessions": sessions, "clock": clock, "random": Random(1), "backoff": BACKOFF}
    times = {"ae_title": "FACENORM", "association_seconds": 5, "response_seconds": 5}
    outbox = Outbox(resolve=lambda path: folder / path, sender=Sender(**times), **common)
    scu = CommitmentScu(**times, report_seconds=report_seconds)
    return Deliverer(outbox, Commitments(scu=scu, timeout_seconds=600, **common), clock, sessions)


def send_report(opened: Any, transaction: str, committed: Any, failed: Any = None) -> Any:
    event_type, information = build_report(transaction, committed, failed or {})
    return opened.send_n_event_report(
        information, event_type, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
    )[0].Status


@contextmanager
def committing_receiver(
    folder: Path, deliverer: Deliverer | None = None, *, port: int = 0, archive: str = "PACS"
) -> Iterator[tuple[Receiver, Any]]:
    deliverer = deliverer or sending_half(folder)
    settings = receiver_settings(
        folder,
        node={"port": port},
        destinations=[{"ae_title": archive, "host": LOOPBACK, "port": 1, "storage_commitment": True}],
    )
    sessions, store = deliverer.sessions, InstanceStore(folder)
    scp = CommitmentScp(
        sessions=sessions,
        store=store,
        caller=Caller(ae_title="FACENORM"),
        clock=Clock(),
        random=Random(1),
        backoff=BACKOFF,
    )
    receiver = Receiver(
        settings, sessions=sessions, store=store, commitment_scp=scp, commitments=deliverer.commitments
    )
    receiver.start()
    try:
        yield receiver, sessions
    finally:
        receiver.stop()
