"""A node without network or queue: it takes photographs in as the receiver does and sweeps as the trigger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from sqlalchemy import select

from dicom_node.core import open_store
from dicom_node.received_dataset import as_received, identify
from dicom_node.settings import Settings
from dicom_node.settings_sections import Data
from dicom_node.study_report import StudyReporter
from dicom_node.study_steps import StudySteps
from reports.options import ReportOptions
from storage.database import connect, migrate, sessions
from storage.intake import Outcome, record_photograph
from storage.shared_commits import SharedCommits
from storage.studies import quiet_studies
from storage.tables import Artefact
from tests.report_samples import encoded, pattern, secondary_capture
from tests.small_scorer import SmallScorer

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass
class SmallArchive:
    """folder: where everything lies. seed: of the scorer; another seed is another setup.

    files: further keys of the section `data`, for files that lie elsewhere.
    """

    folder: Path
    seed: int = 0
    options: ReportOptions = field(default_factory=ReportOptions)
    database_url: str = ""
    files: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = connect(self.database_url or f"sqlite:///{self.folder / 'data' / 'facenorm.sqlite'}")
        migrate(self.engine)
        self.sessions = sessions(self.engine)
        self.store = open_store(Settings(data=Data(folder=self.folder / "data", **self.files)))
        self.now = NOW

    @property
    def config(self) -> Path:
        """A settings file for the commands."""
        path = self.folder / "facenorm.toml"
        keys = {"folder": str(self.folder / "data"), "database_url": self.database_url, **self.files}
        path.write_text("\n".join(["[data]", *(f"{key} = {json.dumps(keys[key])}" for key in keys)]))
        return path

    @property
    def steps(self) -> StudySteps:
        return StudySteps(
            sessions=self.sessions,
            store=self.store,
            scorer=SmallScorer(self.folder / "scorer.log", seed=self.seed),
            reporter=StudyReporter(
                sessions=self.sessions,
                store=self.store,
                destinations=("ARCHIVE",),
                clock=lambda: self.now,
                options=self.options,
            ),
            clock=lambda: self.now,
            observe=lambda _: None,
        )

    def receive(self, photograph: pydicom.FileDataset) -> Outcome:
        """Take a photograph in; raises what the receiver turns into a status."""
        file = encoded(photograph)
        syntax = str(photograph.file_meta.TransferSyntaxUID)
        found = identify(file, syntax)
        taken = as_received(
            found,
            transfer_syntax_uid=syntax,
            calling_ae_title="TEST",
            peer_address="127.0.0.1",
            received_at=self.now,
        )
        stored = self.store.write("photograph", found.sop_instance_uid, file)
        return record_photograph(SharedCommits(self.sessions), taken, stored)

    def settle(self) -> int:
        """Score and report every open study; return how many there were."""
        self.now += timedelta(minutes=1)
        with self.sessions() as session:
            studies = quiet_studies(session, now=self.now, quiet_seconds=0)
        for study in studies:
            for uid in study.photographs:
                self.steps.score_photograph(uid)
            self.steps.report_study(study.photographs)
        return len(studies)

    def rows(self, kind: str = "") -> list[Artefact]:
        """Return the finished objects, oldest first."""
        with self.sessions() as session:
            found = session.scalars(select(Artefact).order_by(Artefact.id)).all()
        return [row for row in found if kind in ("", row.kind)]

    def objects(self, kind: str = "") -> list[pydicom.FileDataset]:
        """The same, parsed."""
        return [pydicom.dcmread(BytesIO(self.store.read(row.path))) for row in self.rows(kind)]


def photograph(
    study: int, number: int = 1, *, brightness: int = 128, **changes: object
) -> pydicom.FileDataset:
    """Return the `number`th photograph of encounter `study` (1 to 12: the month of 2025), evenly grey."""
    uid = f"1.2.826.0.1.3680043.8.498.{500 + study}"
    values = {"StudyInstanceUID": uid, "StudyDate": f"2025{study:02d}10", "SeriesInstanceUID": f"{uid}.1"}
    image = secondary_capture(number, **(values | changes))
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{uid}.1.{number}"
    image.PixelData = (pattern() * 0 + brightness).astype("uint8").tobytes()
    return image
