"""The audit trail: what is in it, that it cannot be changed, and that nothing of it is anywhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage.database import MIGRATIONS, connect, migrate
from storage.tables import AuditEvent
from tests.integration.running_node import (
    PATIENT_ID,
    PATIENT_NAME,
    STUDY,
    NodeUnderTest,
    running,
    wait_until,
    write_photograph,
)
from tests.peers import OrthancPeer
from tests.unit.rows import NOON, database


def test_a_row_can_neither_be_changed_nor_deleted(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        session.add(AuditEvent(at=NOON, event="received", outcome="stored", actor="CAMERA", detail={}))
    for statement in ("UPDATE audit_events SET actor = 'NOBODY'", "DELETE FROM audit_events"):
        with pytest.raises(DBAPIError, match="append-only"), sessions.begin() as session:
            session.execute(text(statement))
    with sessions() as session:
        assert [row.actor for row in session.scalars(select(AuditEvent))] == ["CAMERA"]


def test_what_the_first_table_held_is_still_there(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'facenorm.sqlite'}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO patient VALUES (7, 'TEST-7', 'TESTHOSPITAL')"))
        connection.execute(
            text(
                "INSERT INTO audit VALUES (1, '2026-01-02 12:00:00', 'photograph_received', 'CAMERA', "
                "'127.0.0.1', 7, '1.2', '1.2.3', 'stored')"
            )
        )
    migrate(engine)
    with Session(engine) as session:
        (row,) = session.scalars(select(AuditEvent))
    assert "audit" not in sa.inspect(engine).get_table_names()
    engine.dispose()
    assert (row.at, row.event, row.outcome, row.actor) == (NOON, "received", "stored", "CAMERA")
    assert (row.patient_id, row.issuer, row.study_instance_uid) == ("TEST-7", "TESTHOSPITAL", "1.2")
    assert row.detail == {"SOPInstanceUID": "1.2.3", "NetworkAccessPointID": "127.0.0.1"}


def test_a_whole_run_leaves_patients_in_the_trail_and_nowhere_else(
    tmp_path: Path, orthanc: OrthancPeer
) -> None:
    (tmp_path / "node").mkdir()
    node = NodeUnderTest(folder=tmp_path / "node", destination_port=orthanc.dicom_port)
    node.further = '[log]\nlevel = "debug"\n'
    good = write_photograph(node.folder, f"{STUDY}.10")
    dark = write_photograph(node.folder, f"{STUDY}.11", brightness=0)
    broken = write_photograph(node.folder, f"{STUDY}.12", patient=f"{PATIENT_ID}\\{PATIENT_ID}")
    before = {path.name for path in Path("/tmp").iterdir()}
    with running(node):
        node.send(good, dark)
        node.send_anyway(broken)
        orthanc.wait_for_instances(2, timeout=60)
        wait_until(lambda: 'state="delivered"} 2.0' in node.metrics(), 30, "two deliveries")
        said = node.metrics() + node.health().text + node.facenorm("jobs").stdout
    engine = connect(f"sqlite:///{node.data / 'facenorm.sqlite'}")
    with Session(engine) as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    engine.dispose()
    assert sorted(row.event for row in rows) == [
        "delivered", "delivered", "quarantined", "received", "received", "scored", "scored",
    ]  # fmt: skip
    told = [row for row in rows if row.event != "quarantined"]
    assert {(row.patient_id, row.study_instance_uid) for row in told} == {(PATIENT_ID, STUDY)}
    assert {row.actor for row in rows} == {"CAMERA", "facenorm"}
    assert {row.detail["EventOutcomeIndicator"] for row in rows} == {0, 4}
    names = "\n".join(str(path.relative_to(tmp_path)) for path in node.data.rglob("*"))
    temporary = "\n".join({path.name for path in Path("/tmp").iterdir()} - before)
    for secret in (PATIENT_ID, PATIENT_NAME, "4711", "PATIENT", "19700102", "TEST-ACC", "20260102"):
        for place, content in {
            "logs": node.output,
            "metrics, health and jobs": said,
            "file names": names,
            "temporary files": temporary,
        }.items():
            # Not within a longer number: the microseconds of a time may hold anything.
            found = re.search(rf"(?<![0-9]){re.escape(secret)}(?![0-9])", content, re.IGNORECASE)
            assert found is None, f"{secret} in {place}"
