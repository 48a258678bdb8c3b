"""Priors from a real archive: found, moved to the node, scored once, part of the trend; and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.caller import Caller
from dicom_node.priors import Priors
from dicom_node.priors_scu import PriorsScu
from dicom_node.settings_sections import Priors as PriorsSettings
from reports.options import ResultObject
from reports.reported_scores import read_scores
from storage.priors import patients_to_ask
from storage.tables import Encounter, Patient
from tests.integration.running_node import NodeUnderTest, running, wait_until
from tests.peers import LOOPBACK, Modality, OrthancPeer, free_port, running_orthanc
from tests.report_samples import encoded
from tests.small_archive import photograph
from tests.small_scorer import executions
from tests.unit.rows import add_photograph, database


@pytest.fixture
def node(tmp_path: Path) -> NodeUnderTest:
    folder = tmp_path / "node"
    folder.mkdir()
    return NodeUnderTest(folder=folder, destination_port=free_port(), objects=tuple(ResultObject))


@pytest.fixture
def archive(tmp_path: Path, node: NodeUnderTest) -> Iterator[OrthancPeer]:
    modality = Modality("FACENORM", node.port)
    with running_orthanc(
        tmp_path / "archive", modalities=[modality], dicom_port=node.destination_port
    ) as orthanc:
        yield orthanc


def test_priors_are_fetched_scored_once_and_part_of_the_trend(
    archive: OrthancPeer, node: NodeUnderTest, tmp_path: Path
) -> None:
    earlier = [photograph(1, brightness=60), photograph(2, brightness=90)]
    others = [
        photograph(3, PatientID="TEST-10"),  # begins as the identifier that is asked for
        photograph(4, IssuerOfPatientID="OTHER SITE"),
        photograph(9, brightness=200),  # later than what came
        photograph(5, Modality="OT"),
    ]
    for one in (*earlier, *others):
        archive.store(encoded(one))
    newest = tmp_path / "newest.dcm"
    newest.write_bytes(encoded(photograph(6, brightness=150)))
    node.further = f"""
        [[senders]]
        ae_title = "ORTHANC"
        [priors]
        ae_title = "ORTHANC"
        host = "{LOOPBACK}"
        port = {node.destination_port}
    """
    with running(node):
        node.send(newest)
        wait_until(lambda: len(executions(node.scorer_log, "end")) == 3, 60, "three scorings")
        wait_until(lambda: _newest_shows_both(archive), 60, "a report that tells of the priors")
        assert "priors asked for" in node.output
        assert "chore_failures_total{" not in node.metrics()
    begun = executions(node.scorer_log, "begin")
    assert sorted(begun) == sorted(str(photograph(n).SOPInstanceUID) for n in (1, 2, 6))
    assert "TEST-1" not in node.output


def _newest_shows_both(archive: OrthancPeer) -> bool:
    reports = [report for report in archive.reports() if report.StudyDate == photograph(6).StudyDate]
    previous = [
        float(item.MeasuredValueSequence[0].NumericValue)
        for report in reports
        if read_scores(report)
        for group in report.ContentSequence[-1].ContentSequence
        for item in group.ContentSequence
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].get("CodeValue") == "SCORE_PREV"
    ]
    series = [one["MainDicomTags"].get("SeriesDescription", "") for one in archive.get("/series?expand")]
    trends = [one for one in series if one.startswith("Facial normality over")]
    return pytest.approx(1 + 6 * 90 / 255, abs=0.005) in previous and len(trends) >= 1


def test_a_study_before_1900_asks_for_no_priors(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        add_photograph(session, "1.1")
        session.query(Encounter).one().study_date = "00010101"
        assert patients_to_ask(session) == []
        add_photograph(session, "1.2", study="1.2.4")
        session.query(Encounter).filter_by(study_instance_uid="1.2.4").one().study_date = "20250101"
        assert [one.newest_study for one in patients_to_ask(session)] == ["20250101"]


def test_an_archive_that_is_away_is_asked_again_and_a_wildcard_never(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with sessions.begin() as session:
        add_photograph(session, "1.1")
        session.query(Encounter).one().study_date = "20250101"
    asked = PriorsSettings(ae_title="NOBODY", port=free_port())
    scu = PriorsScu(
        caller=Caller(ae_title="TEST", connect_seconds=2),
        archive=asked,
        destination="TEST",
        modalities=("XC",),
        most_studies=5,
    )
    assert scu.fetch("TEST-*", "", before="20250101", apart_from="", known=()) == 0
    clock = [now]
    priors = Priors(sessions=sessions, scu=scu, clock=lambda: clock[0])
    tries = []
    for _ in range(8):
        with capture_logs() as events:
            assert priors.ask_due() == 0
        tries.append(len(events))
        clock[0] += timedelta(seconds=30)
    assert tries == [1, 0, 1, 0, 0, 0, 1, 0]  # after a minute, then after twice as long
    with sessions() as session:
        assert session.query(Patient).one().priors_asked_at is None
