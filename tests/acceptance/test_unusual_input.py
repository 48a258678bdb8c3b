"""The table of unusual input in docs/patients.md, sent to a receiver and scored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pynetdicom.dsutils import encode
from sqlalchemy import select

from pipeline.locating import locate_face
from pipeline.quality import QualityGate
from pipeline.quality_thresholds import QualityThresholds
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import RejectionReason
from pipeline.stopwatch import Stopwatch
from reports.reported_scores import read_scores
from storage.artefacts import STRUCTURED_REPORT
from storage.encounter_scores import encounter_scores
from storage.tables import AuditEvent, Encounter, Patient, Photograph
from tests.acceptance.documents import REPOSITORY, table
from tests.faces import generated_face
from tests.real_weights import face_finder
from tests.receiving import CALLING, association, running_receiver, send_encoded
from tests.small_archive import SmallArchive, photograph

ROWS = {row["case"]: row for row in table(REPOSITORY / "docs" / "patients.md", "What unusual input gets")}


def known() -> pydicom.FileDataset:
    return photograph(1)


def no_patient_id() -> pydicom.FileDataset:
    return photograph(2, PatientID="")


def no_study_date() -> pydicom.FileDataset:
    return photograph(2, StudyDate="")


def future() -> pydicom.FileDataset:
    return photograph(2, StudyDate="20990101")


def before_1900() -> pydicom.FileDataset:
    return photograph(2, StudyDate="00010101")


def other_patient() -> pydicom.FileDataset:
    return photograph(1, 2, PatientID="TEST-OTHER")


def other_issuer() -> pydicom.FileDataset:
    return photograph(2, IssuerOfPatientID="OTHER SITE")


def other_content() -> pydicom.FileDataset:
    return photograph(1, brightness=77)


def other_object() -> pydicom.FileDataset:
    return photograph(2)


def no_face() -> pydicom.FileDataset:
    return photograph(2, brightness=0)


CASES: dict[str, Callable[[], pydicom.FileDataset]] = {
    one.__name__: one
    for one in (
        *(no_patient_id, no_study_date, future, before_1900, other_patient, other_issuer, other_content),
        *(other_object, no_face),
    )
}


def test_every_row_is_tried() -> None:
    assert set(ROWS) == {*CASES, "two_faces"}


@pytest.mark.parametrize("case", CASES)
def test_it_gets_what_the_table_says(case: str, tmp_path: Path) -> None:
    archive, row = SmallArchive(tmp_path), ROWS[case]
    with running_receiver(tmp_path / "data", senders=[{"ae_title": CALLING}]) as receiver:
        with association(receiver) as opened:
            assert opened.send_c_store(known()).Status == 0
            sent = CASES[case]()
            if case == "other_object":
                encoded = encode(sent, False, True)
                assert isinstance(encoded, bytes)
                status = send_encoded(opened, photograph(3), encoded)
            else:
                status = opened.send_c_store(sent).Status
        assert f"{status:04X}" == row["C-STORE"].strip("`")
        quarantined = len(receiver.files("quarantine"))
    assert quarantined == ("quarantined" in row["outcome"])
    archive.now = max(archive.now, _received(archive))
    archive.settle()
    with archive.sessions() as session:
        stored = session.scalars(
            select(Photograph).where(Photograph.sop_instance_uid == str(sent.SOPInstanceUID))
        ).all()
        patients = session.scalars(select(Patient)).all()
        trends = {
            patient.issuer_of_patient_id: [
                one for one in encounter_scores(session, patient.id, "") if one.date is not None
            ]
            for patient in patients
        }
        audited = session.scalars(select(AuditEvent)).all()
    reported = [one for report in archive.objects(STRUCTURED_REPORT) for one in read_scores(report)]
    own = [one for one in reported if one.source_sop_instance_uid == str(sent.SOPInstanceUID)]
    if "reported" in row["outcome"]:
        (one,) = own
        assert (one.score is None) == ("rejected" in row["outcome"])
    elif case != "other_content":
        assert (stored, own) == ([], [])
    in_trend = [one for scores in trends.values() for one in scores]
    assert len(in_trend) == 1 + (row["in the trend"] == "yes")
    assert len(patients) == 1 + (case == "other_issuer")
    assert len(audited) >= 2
    with archive.sessions() as session:
        owners = {e.study_instance_uid: e.patient_pk for e in session.scalars(select(Encounter))}
    assert owners[str(known().StudyInstanceUID)] == patients[0].id


def _received(archive: SmallArchive) -> datetime:
    with archive.sessions() as session:
        return max(session.scalars(select(Encounter.last_received_at)))


@pytest.mark.real_weights
def test_of_two_faces_alike_neither_is_scored() -> None:
    one, other = (generated_face(seed)[::2, ::2] for seed in (3, 15))
    both = np.ascontiguousarray(np.concatenate([one, other], axis=1))
    with pytest.raises(UnscorablePhotographError) as caught:
        QualityGate(QualityThresholds()).check(locate_face(face_finder(), both, Stopwatch()), *both.shape[:2])
    assert caught.value.rejection.reason is RejectionReason.SEVERAL_FACES
