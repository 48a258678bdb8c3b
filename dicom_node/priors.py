"""Asks once for the earlier photographs of every patient that is new to the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.priors_scu import PriorsError, PriorsScu
from storage.priors import mark_asked, patients_to_ask

_log = structlog.get_logger(__name__)

_FIRST_RETRY = timedelta(minutes=1)
_LONGEST_RETRY = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class Priors:
    """A chore: `ask_due` is called again and again.

    A failure is tried again after a minute, then after twice as long each time, up to an hour. A kill in
    between only means that the archive is asked again; what it sends twice is known.
    """

    sessions: sessionmaker[Session]
    scu: PriorsScu
    clock: Callable[[], datetime]
    _waits: dict[int, tuple[datetime, timedelta]] = field(default_factory=dict)

    def ask_due(self) -> int:
        """Ask for every patient that is due; return how many photographs were asked for."""
        with self.sessions() as session:
            due = [one for one in patients_to_ask(session) if self._is_due(one.key)]
        total = 0
        for one in due:
            try:
                found = self.scu.fetch(
                    one.patient_id, one.issuer, before=one.newest_study, known_studies=one.studies
                )
            except PriorsError as error:
                self._wait(one.key)
                _log.warning("priors not fetched", error=str(error))
                # Whatever ails the archive ails it for the next patient, too.
                return total
            self._waits.pop(one.key, None)
            with self.sessions.begin() as session:
                mark_asked(session, one.key, at=self.clock())
            _log.info("priors asked for", photographs=found)
            total += found
        return total

    def _is_due(self, key: int) -> bool:
        return key not in self._waits or self._waits[key][0] <= self.clock()

    def _wait(self, key: int) -> None:
        _, last = self._waits.get(key, (self.clock(), _FIRST_RETRY / 2))
        pause = min(2 * last, _LONGEST_RETRY)
        self._waits[key] = (self.clock() + pause, pause)
