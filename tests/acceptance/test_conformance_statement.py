"""`docs/conformance.md` against the code, table by table."""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import UID
from pynetdicom import (
    AE,
    DEFAULT_TRANSFER_SYNTAXES,
    PYNETDICOM_IMPLEMENTATION_UID,
    PYNETDICOM_IMPLEMENTATION_VERSION,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node import commitment_scp, commitments, receiver
from dicom_node.caller import Caller
from dicom_node.commitment_dataset import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_OBJECT_INSTANCE,
    PROCESSING_FAILURE,
)
from dicom_node.commitment_scu import STORAGE_COMMITMENT
from dicom_node.receiver import SOP_CLASSES, TRANSFER_SYNTAXES
from dicom_node.reception import Status
from dicom_node.sender import Verdict, classify_status
from dicom_node.settings_sections import Destination
from reports.equipment import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from reports.options import ImageClass, ReportClass, ReportOptions
from reports.patient_page import PatientPage
from reports.patient_pdf import build_patient_pdf
from reports.structured_report import build_structured_report
from reports.trend_image import build_trend_image
from tests.acceptance.documents import REPOSITORY, table
from tests.peers import LOOPBACK
from tests.receiving import CALLING, running_receiver
from tests.report_samples import CREATED, course, images_of, reported, score, secondary_capture

STATEMENT = REPOSITORY / "docs" / "conformance.md"
VERIFICATION = UID("1.2.840.10008.1.1")
ALL_OPTIONS = [ReportOptions(sr=sr, image=image) for sr in ReportClass for image in ImageClass]


def results() -> list[pydicom.FileDataset]:
    source = secondary_capture()
    found = [
        image
        for options in ALL_OPTIONS
        for image in images_of(source, score(), options.image_sop_class).values()
    ]
    found.append(build_trend_image([source], course(), CREATED))
    found.append(build_patient_pdf(source, PatientPage(course(), None, None), CREATED))
    for options in ALL_OPTIONS:
        entry = reported(source, score())
        found.append(build_structured_report([entry], None, CREATED, sop_class_uid=options.report_sop_class))
    return found


def test_the_sop_classes_are_those_that_are_received_and_sent() -> None:
    rows = table(STATEMENT, "4.2.1 SOP classes")
    assert all(UID(row["UID"]).name == row["SOP class"] for row in rows)
    received = [row["UID"] for row in rows if row["role"] == "SCP"]
    sent = {row["UID"] for row in rows if row["role"] == "SCU"}
    assert received == [VERIFICATION, *SOP_CLASSES, STORAGE_COMMITMENT]
    asked = {
        VERIFICATION,
        STORAGE_COMMITMENT,
        str(StudyRootQueryRetrieveInformationModelFind),
        str(StudyRootQueryRetrieveInformationModelMove),
    }
    assert sent == {str(one.SOPClassUID) for one in results()} | asked


def test_the_transfer_syntaxes_are_those_that_are_accepted_in_their_order() -> None:
    rows = table(STATEMENT, "4.2.3 Presentation contexts")
    assert [row["UID"] for row in rows] == [str(syntax) for syntax in TRANSFER_SYNTAXES]
    assert [row["transfer syntax"] for row in rows] == [syntax.name for syntax in TRANSFER_SYNTAXES]
    assert {str(syntax) for syntax in TRANSFER_SYNTAXES[:4]} == set(DEFAULT_TRANSFER_SYNTAXES)


def test_of_several_offered_transfer_syntaxes_the_first_of_the_table_is_chosen(tmp_path: Path) -> None:
    entity = AE(ae_title=CALLING)
    entity.add_requested_context(SOP_CLASSES[0], [str(syntax) for syntax in reversed(TRANSFER_SYNTAXES)])
    with running_receiver(tmp_path) as running:
        association = entity.associate(LOOPBACK, running.port, ae_title="FACENORM")
        (context,) = association.accepted_contexts
        association.release()
    assert context.transfer_syntax == [TRANSFER_SYNTAXES[0]]


def test_results_are_sent_in_explicit_vr_little_endian_and_name_the_implementation() -> None:
    text = STATEMENT.read_text("utf-8")
    for result in results():
        assert result.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert result.file_meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    for named in (
        IMPLEMENTATION_CLASS_UID,
        IMPLEMENTATION_VERSION_NAME,
        PYNETDICOM_IMPLEMENTATION_UID,
        PYNETDICOM_IMPLEMENTATION_VERSION,
    ):
        assert f"`{named}`" in text


def test_the_longest_pdu_is_the_one_that_is_announced(tmp_path: Path) -> None:
    entity = AE(ae_title=CALLING)
    entity.add_supported_context(VERIFICATION)
    entity.add_requested_context(VERIFICATION)
    server = entity.start_server((LOOPBACK, 0), block=False)
    peer = Destination(ae_title=CALLING, host=LOOPBACK, port=server.server_address[1])
    opened = Caller(ae_title="FACENORM").associate(peer, [(VERIFICATION, None)])
    opened.release()
    server.shutdown()
    with running_receiver(tmp_path) as running:
        accepted = entity.associate(LOOPBACK, running.port, ae_title="FACENORM")
        accepted.release()
    lengths = (accepted.acceptor.maximum_length, opened.requestor.maximum_length)
    assert (
        "`{}` bytes on associations that facenorm accepts, `{}` on".format(*lengths) in STATEMENT.read_text()
    )


def test_the_answers_are_those_of_the_code() -> None:
    rows = table(STATEMENT, "4.2.4 Answers to C-STORE")
    assert {row["name"]: int(row["status"], 16) for row in rows} == {s.name: s.value for s in Status}


def test_every_status_of_a_destination_is_read_as_the_table_says() -> None:
    words = {
        "delivered": Verdict.DELIVERED,
        "tried again": Verdict.TRANSIENT,
        "given up": Verdict.PERMANENT,
    }
    rows = [
        (re.compile(row["status"].replace(", ", "|").replace("x", "[0-9A-F]")), words[row["taken as"]])
        for row in table(STATEMENT, "4.2.5 Reading the answers of a destination")
    ]
    for status in range(0x10000):
        said = next(verdict for pattern, verdict in rows if pattern.fullmatch(f"{status:04X}"))
        assert classify_status(status).verdict is said, f"{status:04X}"


def test_the_answers_about_commitment_are_those_of_the_code() -> None:
    section = STATEMENT.read_text("utf-8").partition("#### 4.2.6")[2].partition("\n### ")[0]
    reasons = {CLASS_INSTANCE_CONFLICT, NO_SUCH_OBJECT_INSTANCE, PROCESSING_FAILURE}
    answers = {
        0x0000, PROCESSING_FAILURE, commitments._INVALID_ARGUMENT_VALUE, commitment_scp._NO_SUCH_ACTION,
        receiver._NOT_AUTHORIZED,
    }  # fmt: skip
    tables = section.split("| answer |")
    found = [{int(code, 16) for code in re.findall(r"^\| `(\w{4})`", part, re.M)} for part in tables]
    assert found == [reasons, answers]


@pytest.mark.parametrize("number", range(4))
def test_associations_are_rejected_as_the_table_says(tmp_path: Path, number: int) -> None:
    row = table(STATEMENT, "4.2.2 Association policies")[number]
    calling, called, others = [
        ("STRANGER", "FACENORM", 0),
        (CALLING, "OTHER", 0),
        (CALLING, "FACENORM", 1),
        (CALLING, "FACENORM", 1),
    ][number]
    limits = {"maximum_associations": 1}
    node, sender = (limits, {}) if number == 2 else ({}, limits) if number == 3 else ({}, {})
    with running_receiver(tmp_path, node=node, senders=[{"ae_title": CALLING} | sender]) as running:
        first = [_associate(CALLING, "FACENORM", running.port) for _ in range(others)]
        assert all(association.is_established for association in first)
        rejected = _associate(calling, called, running.port)
        assert rejected.is_rejected
        answer = rejected.acceptor.primitive
        for association in first:
            association.release()
    found = (answer.result, answer.result_source, answer.diagnostic)
    assert found == tuple(int(row[key]) for key in ("result", "source", "reason"))


def _associate(calling: str, called: str, port: int) -> object:
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.network_timeout = 10
    entity.add_requested_context(VERIFICATION)
    return entity.associate(LOOPBACK, port, ae_title=called)
