"""A patient's course when the patient is merged into another or erased, at whatever moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from dicom_node.told_study import ToldStudy
from reports.options import ReportOptions
from storage.artefacts import (
    COMPARISON,
    PATIENT_PDF,
    STRUCTURED_REPORT,
)
from storage.consistency import inspect_store
from storage.deliveries import DELIVERED
from storage.instances import InstanceStore
from storage.intake import OtherPatientError, Outcome
from storage.retention import purge_photographs
from storage.tables import Artefact, AuditEvent, Base, Delivery, Patient
from tests.course import archive, measured, on_both, run
from tests.overtaking import Once, OvertakenStore
from tests.small_archive import SmallArchive, photograph
from tests.unit.rows import write_beside

__all__ = ["archive"]


def test_merged_patients_are_reported_as_one_under_the_identity_that_stays(archive: SmallArchive) -> None:
    archive.receive(photograph(1, PatientID="TEST-OLD", PatientName="OLD^TEST", brightness=90))
    archive.receive(photograph(2, brightness=150))
    archive.settle()
    with pytest.raises(OtherPatientError):
        archive.receive(photograph(1, 2))  # the study belongs to another patient until someone says otherwise
    run(archive, "patient", "merge", "TEST-OLD", "TEST-1")
    archive.settle()
    report = archive.objects(STRUCTURED_REPORT)[-1]
    newest = [one for one in archive.objects(STRUCTURED_REPORT)[2:] if str(one.StudyDate) == "20250210"][-1]
    assert measured(newest, "SCORE_PREV") == [pytest.approx(1 + 6 * 90 / 255, abs=0.005)]
    for made in (report, newest, *archive.objects(PATIENT_PDF)[2:], *archive.objects(COMPARISON)[2:]):
        assert (made.PatientID, str(made.PatientName)) == ("TEST-1", "TEST^PATIENT")
    with archive.sessions() as session:
        assert [one.patient_id for one in session.scalars(select(Patient))] == ["TEST-1"]
        (audited,) = session.scalars(select(AuditEvent).where(AuditEvent.event == "patient_merged"))
    assert (audited.patient_id, audited.detail["merged_patient_id"]) == ("TEST-1", "TEST-OLD")
    run(archive, "patient", "merge", "TEST-1", "TEST-1", status=1)
    run(archive, "patient", "merge", "TEST-404", "TEST-1", status=1)


def test_a_study_that_is_merged_while_its_report_is_written_is_told_of_the_patient_who_stays(
    archive: SmallArchive,
) -> None:
    archive.receive(photograph(1, PatientID="TEST-OLD", PatientName="OLD^TEST"))
    archive.receive(photograph(2))
    merged = Once(lambda: run(archive, "patient", "merge", "TEST-OLD", "TEST-1"))
    store = OvertakenStore(archive.store.folder, STRUCTURED_REPORT, merged)
    steps, uid = archive.steps, str(photograph(1).SOPInstanceUID)
    # As in a node on SQLite, which has no other process beside it that reports.
    reporter = replace(steps.reporter, store=store, alone=True)
    steps.score_photograph(uid)
    replace(steps, reporter=reporter).report_study([uid])
    archive.settle()
    assert merged.called
    for made in [*archive.objects(STRUCTURED_REPORT), *archive.objects(COMPARISON)]:
        assert (made.PatientID, str(made.PatientName)) == ("TEST-1", "TEST^PATIENT")
    assert inspect_store(archive.sessions, archive.store) == []


def test_a_study_that_is_merged_while_its_newest_report_is_found_to_do_is_told_of_the_patient_who_stays(
    archive: SmallArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.options = ReportOptions(objects=frozenset())
    archive.receive(photograph(1, PatientID="TEST-OLD", PatientName="OLD^TEST"))
    archive.receive(photograph(2))
    archive.settle()
    run(archive, "rescore", "TEST-OLD")  # which leaves the report the newest
    merged = Once(lambda: run(archive, "patient", "merge", "TEST-OLD", "TEST-1"))
    is_told_by = ToldStudy.is_told_by

    def overtaken(study: ToldStudy, report: Artefact) -> bool:
        merged()
        return is_told_by(study, report)

    monkeypatch.setattr(ToldStudy, "is_told_by", overtaken)
    archive.settle()
    archive.settle()
    assert merged.called
    (newest,) = [one for one in archive.objects()[1:] if str(one.StudyDate) == "20250110"]
    assert newest.PatientID == "TEST-1"


def test_who_had_a_patient_scored_anew_stands_in_the_audit(archive: SmallArchive) -> None:
    archive.receive(photograph(1))
    archive.settle()
    run(archive, "rescore", "TEST-1")
    with archive.sessions() as session:
        told = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()[-1]
    assert (told.event, told.patient_id, told.detail["studies"]) == ("rescored", "TEST-1", 1)
    assert told.actor.startswith("operator")


def test_scores_whose_photographs_retention_took_are_told_in_the_reports_that_they_are_merged_into(
    archive: SmallArchive,
) -> None:
    archive.receive(photograph(1, PatientID="TEST-OLD", brightness=90))
    archive.settle()
    with archive.sessions.begin() as session:
        session.execute(update(Delivery).values(state=DELIVERED))
        later = archive.now + timedelta(days=1)
        purge_photographs(session, archive.store.delete, before=later, now=later, limit=10)
    archive.receive(photograph(2, brightness=150))
    archive.settle()
    assert "Studies moved: 1." in run(archive, "patient", "merge", "TEST-OLD", "TEST-1").output
    archive.settle()
    newest = archive.objects(STRUCTURED_REPORT)[-1]
    assert measured(newest, "SCORE_PREV") == [pytest.approx(1 + 6 * 90 / 255, abs=0.005)]
    assert archive.settle() == 0


def test_a_photograph_that_is_sent_again_after_a_merge_brings_no_patient_back(archive: SmallArchive) -> None:
    old = photograph(1, IssuerOfPatientID=None)
    archive.receive(old)
    archive.receive(photograph(2))
    run(archive, "patient", "merge", "TEST-1", "TEST-1", "--from-issuer", "", "--into-issuer", "TEST SITE")
    assert archive.receive(old) is Outcome.ALREADY_STORED
    with archive.sessions() as session:
        assert len(session.scalars(select(Patient)).all()) == 1
    run(archive, "history", "TEST-1")


def test_a_patient_of_few_photographs_keeps_the_name_when_one_of_many_is_merged_into_them(
    archive: SmallArchive,
) -> None:
    archive.receive(photograph(1, StudyDate="20240101"))
    archive.settle()
    for number in range(1, 23):
        archive.receive(photograph(2, number, PatientID="TEST-OLD", PatientName="OLD^TEST"))
    archive.settle()
    run(archive, "patient", "merge", "TEST-OLD", "TEST-1")
    archive.settle()
    assert str(archive.objects(STRUCTURED_REPORT)[-1].PatientName) == "TEST^PATIENT"


@on_both
def test_an_erased_patient_leaves_the_audit_alone(archive: SmallArchive) -> None:
    archive.receive(photograph(1))
    archive.receive(photograph(2))
    archive.receive(photograph(3, PatientID="TEST-OTHER"))
    archive.settle()
    result = run(archive, "patient", "erase", "TEST-1", "--yes")
    assert "2 studies, 2 photographs" in result.output
    left = list((archive.folder / "data").rglob("*.dcm"))
    assert len(left) == 1 + 1 + 5  # photograph, pictures, results of the other patient
    with archive.sessions() as session:
        assert [one.patient_id for one in session.scalars(select(Patient))] == ["TEST-OTHER"]
        counts = {
            table.name: len(session.execute(select(table)).all()) for table in Base.metadata.sorted_tables
        }
        (audited,) = session.scalars(select(AuditEvent).where(AuditEvent.event == "patient_erased"))
    assert (counts["encounter"], counts["photograph"], counts["scoring"], counts["artefact"]) == (1, 1, 1, 5)
    assert audited.detail["photographs"] == 2
    run(archive, "patient", "erase", "TEST-1", "--yes", status=1)
    # What comes back later is a new patient.
    assert archive.receive(photograph(1)) is Outcome.STORED


def test_nothing_of_an_erased_patient_can_be_read_in_the_database_of_a_running_node(
    archive: SmallArchive,
) -> None:
    archive.receive(photograph(1, AccessionNumber="TEST-ACCESSION"))
    archive.settle()  # and the archive keeps the database open
    run(archive, "patient", "erase", "TEST-1", "--yes")
    found = [path.name for path in (archive.folder / "data").iterdir() if path.is_file()]
    assert "facenorm.sqlite-wal" in found
    for name in found:
        assert b"TEST-ACCESSION" not in (archive.folder / "data" / name).read_bytes(), name


def test_others_write_while_the_files_of_a_patient_go_and_what_comes_meanwhile_goes_too(
    archive: SmallArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowStore(InstanceStore):
        late = [photograph(2), photograph(3)]  # noqa: RUF012

        def delete(self, path: str) -> None:
            write_beside(self.folder)
            if self.late:
                archive.receive(self.late.pop())
            super().delete(path)

    archive.receive(photograph(1))
    archive.settle()
    monkeypatch.setattr("dicom_node.commands.patient.open_store", lambda _: SlowStore(archive.store.folder))
    run(archive, "patient", "erase", "TEST-1", "--yes")
    assert SlowStore.late == []
    assert list((archive.folder / "data").rglob("*.dcm")) == []
    with archive.sessions() as session:
        assert session.scalars(select(Patient)).all() == []
        (audited,) = session.scalars(select(AuditEvent).where(AuditEvent.event == "patient_erased"))
    assert audited.detail["photographs"] == 3
