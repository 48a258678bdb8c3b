"""The page that a browser shows of a node: queue, recent studies, destinations, model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib import resources
from string import Template

from sqlalchemy.orm import Session, sessionmaker

from dicom_node.caller import Peer
from dicom_node.echo import Echo
from storage.audit import Event, add_audit_event
from storage.deliveries import count_deliveries
from storage.recent_studies import RecentStudy, recent_studies

_STUDIES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPage:
    """Composes the page anew for every request.

    reasons: why the node is not ready. workflows: studies by state. model: key -> value.
    """

    sessions: sessionmaker[Session]
    reasons: Callable[[], Mapping[str, str]]
    workflows: Callable[[], Mapping[str, int]]
    destinations: Callable[[], Sequence[Peer]]
    echoes: Callable[[], Mapping[str, Echo]]
    model: Callable[[], Mapping[str, str]]
    clock: Callable[[], datetime]

    def render(self, *, patients: bool) -> str:
        """Return HTML; with `patients` it names them, which the audit trail records."""
        with self.sessions.begin() as session:
            studies = recent_studies(session, limit=_STUDIES)
            deliveries = count_deliveries(session)
            if patients:
                add_audit_event(
                    session,
                    Event.PATIENTS_SHOWN,
                    at=self.clock(),
                    actor="status page",
                    detail={"studies": len(studies)},
                )
        page = Template((resources.files("dicom_node") / "pages" / "status.html").read_text("utf-8"))
        reasons = self.reasons()
        return page.substitute(
            ready="ready" if not reasons else "not ready",
            reasons=_table(("what", "why not"), reasons.items()),
            queue=_table(
                ("", "state", "number"),
                [
                    *(("studies", state.lower(), str(number)) for state, number in self.workflows().items()),
                    *(("deliveries", state, str(number)) for state, number in deliveries.items()),
                ],
            ),
            studies=_studies(studies, patients=patients),
            destinations=_table(
                ("AE title", "address", "TLS", "last C-ECHO"), map(self._destination, self.destinations())
            ),
            model=_table(("", ""), self.model().items()),
            at=escape(_time(self.clock())),
        )

    def _destination(self, peer: Peer) -> tuple[str, ...]:
        echo = self.echoes().get(peer.ae_title)
        said = "not yet" if echo is None else f"{echo.error or 'answered'}, {_time(echo.at)}"
        return peer.ae_title, f"{peer.host}:{peer.port}", "yes" if peer.tls else "no", said


def _studies(studies: Sequence[RecentStudy], *, patients: bool) -> str:
    heading = ("last received", "photographs", "reported", "study")
    rows = [
        (_time(study.last_received_at), str(study.photographs), str(study.reported), study.study_instance_uid)
        for study in studies
    ]
    if not patients:
        return _table(heading, rows)
    named = [(*row, study.patient_id, study.issuer) for row, study in zip(rows, studies, strict=True)]
    return _table((*heading, "patient", "issuer"), named)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    if not lines:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
