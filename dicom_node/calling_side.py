"""The side of the node that calls others: deliveries, storage commitment, echoes, and priors."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from random import Random
from typing import TypedDict

from dicom_node.caller import Caller
from dicom_node.chores import SWEEP_SECONDS, Chore
from dicom_node.commitment_scp import CommitmentScp
from dicom_node.commitment_scu import CommitmentScu
from dicom_node.commitments import Commitments
from dicom_node.core import Core
from dicom_node.echo import Echoes
from dicom_node.outbox import Backoff, Outbox
from dicom_node.priors import Priors
from dicom_node.priors_scu import PriorsScu
from dicom_node.sender import Sender
from dicom_node.settings import Settings
from dicom_node.settings_sections import Destination
from dicom_node.settings_sections import Sender as SenderEntry
from storage.instances import intact

_ECHO_SECONDS = 60.0


class _Calling(TypedDict):
    """How associations are opened; see `Caller`."""

    ae_title: str
    association_seconds: float
    response_seconds: float
    tls: Callable[[], ssl.SSLContext | None]


class CallingSide:
    """Everything that opens associations; its `work` has to be done again and again."""

    def __init__(
        self,
        settings: Settings,
        core: Core,
        *,
        clock: Callable[[], datetime],
        random: Random,
        tls: Callable[[], ssl.SSLContext | None],
    ) -> None:
        """Compose; nothing is called yet. random: spreads the retries. tls: as `Caller` has it."""
        self._settings, self._core, self._clock, self._random = settings, core, clock, random
        delivery = settings.delivery
        self._calling: _Calling = {
            "ae_title": settings.node.ae_title,
            "association_seconds": delivery.timeout_seconds,
            "response_seconds": delivery.timeout_seconds,
            "tls": tls,
        }
        self._backoff = Backoff(
            first_seconds=delivery.first_retry_seconds,
            longest_seconds=delivery.max_retry_seconds,
            attempts=delivery.max_attempts,
        )
        self.echoes = Echoes(caller=Caller(**self._calling), clock=clock)
        self.commitments = Commitments(
            sessions=core.sessions,
            scu=CommitmentScu(**self._calling),
            clock=clock,
            random=random,
            backoff=self._backoff,
            timeout_seconds=delivery.commitment_timeout_seconds,
        )
        self.commitment_scp = CommitmentScp(
            sessions=core.sessions,
            store=core.store,
            caller=Caller(**self._calling),
            clock=clock,
            random=random,
            backoff=self._backoff,
            secured=settings.node.tls,
        )

    @property
    def work(self) -> dict[str, Chore]:
        """A chore for each peer: one that hangs must not hold up the others."""
        outbox = self._outbox()

        def serve(destination: Destination) -> None:
            outbox.deliver_due(destination)
            # Asked where the setting was turned off, too: what was stored under it still waits.
            self.commitments.ask_due(destination)

        work: dict[str, Chore] = {}
        for destination in self._settings.destinations:
            name = destination.ae_title
            work[f"deliver to {name}"] = (SWEEP_SECONDS, partial(serve, destination))
            work[f"call {name}"] = (_ECHO_SECONDS, partial(self.echoes.call, destination))
        return work | self.reporting_to(self._settings.senders) | self._priors_work()

    def reporting_to(self, senders: Iterable[SenderEntry]) -> dict[str, Chore]:
        """Return the part of `work` that is done for these senders, who may be others after a reload."""
        return {
            f"report to {sender.ae_title}": (SWEEP_SECONDS, partial(self.commitment_scp.report_due, sender))
            for sender in senders
            if sender.commitment_port
        }

    def _outbox(self) -> Outbox:
        store = self._core.store
        return Outbox(
            sessions=self._core.sessions,
            # What is damaged must not reach an archive, nor pynetdicom, which fails at it in many ways.
            resolve=lambda path: intact(path, store.absolute(path)),
            sender=Sender(**self._calling),
            clock=self._clock,
            random=self._random,
            backoff=self._backoff,
        )

    def _priors_work(self) -> dict[str, Chore]:
        wanted = self._settings.priors
        if not wanted.ae_title:
            return {}
        scu = PriorsScu(
            caller=Caller(**self._calling),
            archive=wanted,
            destination=self._settings.node.ae_title,
            modalities=wanted.modalities,
            most_studies=wanted.most_studies,
        )
        priors = Priors(sessions=self._core.sessions, scu=scu, clock=self._clock)
        return {"priors": (SWEEP_SECONDS, priors.ask_due)}
