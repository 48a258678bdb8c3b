"""An archive in this process that is asked and moves, and fails where a test wants it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.caller import Caller
from dicom_node.priors_scu import PriorsScu
from tests.peers import LOOPBACK
from tests.receiving import photograph

ARCHIVE = "ARCHIVE"
_UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


@dataclass
class QueryArchive:
    """What it holds, what it was asked for, and how it fails.

    to: the port that it moves to. moved: the SOP Instance UIDs of each C-MOVE. queries: the level of each
    C-FIND. associations: how many it took. abort_after: objects of a C-MOVE after which it aborts. without: a
    keyword that its answers lack. refused: the patients and studies of which a C-MOVE ends with `status`.
    before_move_seconds: for how long a C-MOVE says nothing. failing: the level at which a C-FIND ends with
    `status`. times: how often it gives each answer of a C-FIND. hang_up: aborts every association.
    """

    datasets: list[Dataset]
    to: int = 0
    ae_title: str = ARCHIVE
    host: str = LOOPBACK
    port: int = 0
    tls: bool = False
    moved: list[list[str]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    associations: int = 0
    abort_after: int | None = None
    without: str = ""
    refused: set[str] = field(default_factory=set)
    failing: str = ""
    times: int = 1
    before_move_seconds: float = 0.0
    status: int = 0xA702
    hang_up: Callable[[], None] = lambda: None

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        level = str(query.QueryRetrieveLevel)
        self.queries.append(level)
        if level == self.failing:
            yield self.status, None
            return
        answered = set()
        for dataset in self.datasets:
            unique = str(dataset[_UNIQUE[level]].value)
            if unique in answered or not _matches(dataset, query):
                continue
            answered.add(unique)
            answer = Dataset()
            for element in query:
                if element.keyword != self.without:
                    setattr(answer, element.keyword, dataset.get(element.keyword, element.value))
            for _ in range(self.times):
                yield 0xFF00, answer

    def move(self, event: evt.Event) -> Iterator[Any]:
        wanted = event.identifier.SOPInstanceUID
        uids = [wanted] if isinstance(wanted, str) else [str(uid) for uid in wanted]
        self.moved.append(uids)
        chosen = [one for one in self.datasets if str(one.SOPInstanceUID) in uids]
        contexts = [_context(one) for one in chosen[:1]]
        yield LOOPBACK, self.to, {"contexts": contexts}
        yield len(chosen)
        time.sleep(self.before_move_seconds)
        if {str(v) for one in chosen for v in (one.PatientID, one.StudyInstanceUID)} & self.refused:
            yield self.status, None
            return
        for number, dataset in enumerate(chosen):
            if number == self.abort_after:
                event.assoc.abort()
            yield 0xFF00, dataset


def _context(dataset: Dataset) -> Any:
    """Return the presentation context under which the data set is sent."""
    entity = AE()
    entity.add_requested_context(dataset.SOPClassUID, ExplicitVRLittleEndian)
    return entity.requested_contexts[0]


def _matches(dataset: Dataset, query: Dataset) -> bool:
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        wanted = str(query.get(keyword) or "")
        if wanted and str(dataset.get(keyword)) != wanted:
            return False
    return True


def scu_of(archive: QueryArchive) -> PriorsScu:
    return PriorsScu(
        caller=Caller(ae_title="FACENORM", connect_seconds=2, association_seconds=5, response_seconds=5),
        archive=archive,
        destination="FACENORM",
        modalities=("XC",),
        most_studies=5,
    )


def prior_study(date: str, count: int, **changes: str) -> list[Dataset]:
    """Return the photographs of a study of one series; `date` is YYYYMMDD."""
    of_all = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "StudyDate": date}
    return [photograph(Modality="XC", **of_all, **changes) for _ in range(count)]


@contextmanager
def running_query_archive(
    datasets: Sequence[Dataset], *, to: int = 0, moves: bool = True
) -> Iterator[QueryArchive]:
    """Run it on loopback; without `moves` it takes C-FIND only."""
    archive = QueryArchive(list(datasets), to)
    counting = threading.Lock()

    def count(_event: evt.Event) -> None:
        with counting:
            archive.associations += 1

    entity = AE(ae_title=ARCHIVE)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian)
    if moves:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove, ExplicitVRLittleEndian)
    server = entity.start_server(
        (LOOPBACK, 0),
        block=False,
        evt_handlers=[
            (evt.EVT_ACCEPTED, count),
            (evt.EVT_C_FIND, archive.find),
            (evt.EVT_C_MOVE, archive.move),
        ],
    )
    archive.port = server.server_address[1]

    def hang_up() -> None:
        for association in server.active_associations:
            association.abort()

    archive.hang_up = hang_up
    try:
        yield archive
    finally:
        server.shutdown()
