"""Asks once for the earlier photographs of every patient that is new to the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.priors_scu import PriorsError, PriorsScu, UnusableArchiveError
from storage.priors import PatientToAsk, mark_asked, patients_to_ask

_log = structlog.get_logger(__name__)

_FIRST_RETRY = timedelta(minutes=1)
_LONGEST_RETRY = timedelta(hours=1)
# Some three days of tries: an archive that answers and fails may be short of room over a weekend.
_ATTEMPTS = 72


@dataclass(frozen=True, slots=True)
class _Wait:
    """After how many failures, and until when, something is left alone."""

    failures: int
    until: datetime

    def is_over(self, now: datetime) -> bool:
        # One that lasts longer than any began while a clock was ahead that has been set right since.
        return self.until <= now or self.until > now + _LONGEST_RETRY

    def after_another(self, now: datetime) -> _Wait:
        # The exponent is bounded, or that of an archive which is away for days would overflow.
        pause = min(_FIRST_RETRY * 2 ** min(self.failures, 10), _LONGEST_RETRY)
        return _Wait(self.failures + 1, now + pause)


_NO_WAIT = _Wait(0, datetime.min.replace(tzinfo=UTC))


@dataclass(slots=True, kw_only=True)
class Priors:
    """A chore: `ask_due` is called again and again.

    A failure is tried again after a minute, then after twice as long each time, up to an hour. While the
    archive is away or takes no requests, nothing else is tried. A patient for whom it answers and fails holds
    up nobody else, and is given up after `attempts`. A kill in between only means that the archive is asked
    again, for what has not come by then, and that failures are counted anew.
    """

    sessions: sessionmaker[Session]
    scu: PriorsScu
    clock: Callable[[], datetime]
    attempts: int = _ATTEMPTS
    _of_archive: _Wait = _NO_WAIT
    _of_patients: dict[int, _Wait] = field(default_factory=dict)

    def ask_due(self) -> int:
        """Ask for every patient that is due; return how many photographs were asked for."""
        now, total = self.clock(), 0
        if not self._of_archive.is_over(now):
            return 0
        waiting = {key for key, wait in self._of_patients.items() if not wait.is_over(now)}
        with self.sessions() as session:
            due = patients_to_ask(session, waiting=waiting)
        for one in due:
            try:
                found = self._fetch(one)
            except UnusableArchiveError as error:
                self._of_archive = self._of_archive.after_another(self.clock())
                _log.warning("priors not fetched", error=str(error))
                return total
            except PriorsError as error:
                self._of_archive = _NO_WAIT
                self._failed(one.key, str(error))
                # The next turn asks for the others: an archive that fails at everybody is not overrun.
                return total
            self._of_archive = _NO_WAIT
            self._mark_asked(one.key)
            _log.info("priors asked for", photographs=found)
            total += found
        return total

    def _fetch(self, one: PatientToAsk) -> int:
        return self.scu.fetch(
            one.patient_id,
            one.issuer,
            before=one.newest_study,
            apart_from=one.first_study,
            known=one.photographs,
        )

    def _failed(self, key: int, error: str) -> None:
        wait = self._of_patients.get(key, _NO_WAIT).after_another(self.clock())
        if wait.failures < self.attempts:
            self._of_patients[key] = wait
            _log.warning("priors not fetched", error=error, attempt=wait.failures)
            return
        self._mark_asked(key)
        _log.error("priors given up", error=error, attempts=wait.failures)

    def _mark_asked(self, key: int) -> None:
        self._of_patients.pop(key, None)
        with self.sessions.begin() as session:
            mark_asked(session, key, at=self.clock())
