from __future__ import annotations

import errno
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator

import pydicom.config
import pytest
import structlog
from pydicom import Dataset

from dicom_node.logs import configure_logs
from dicom_node.settings import Settings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, pydicom.config.settings.reading_validation_mode)
    stream = io.StringIO()
    with warnings.catch_warnings():
        configure_logs(Settings(log={"format": "json"}), stream=stream)
        yield stream
    root.handlers, root.level = before[0], before[1]
    pydicom.config.settings.reading_validation_mode = before[2]
    structlog.reset_defaults()


def _events(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_listed_keys_are_logged_and_others_are_dropped(stream: io.StringIO) -> None:
    structlog.get_logger().info("study queued", photographs=2, patient_id="TEST-0001", patient="TEST^PATIENT")
    (event,) = _events(stream)
    assert event.pop("timestamp")
    assert event == {"event": "study queued", "level": "info", "photographs": 2}


def test_values_that_are_no_plain_words_or_numbers_are_dropped(stream: io.StringIO) -> None:
    dataset = Dataset()
    dataset.PatientName = "TEST^PATIENT"
    structlog.get_logger().info(
        "step failed", error="no score for TEST^PATIENT", count=dataset, step=["TEST"]
    )
    structlog.get_logger().info("done", ae_title="A\nFORGED", destination="\x1b[31m")
    assert [sorted(event) for event in _events(stream)] == [["event", "level", "timestamp"]] * 2


def test_an_event_that_quotes_something_is_not_logged_as_its_text(stream: io.StringIO) -> None:
    structlog.get_logger().warning("cannot read TEST^PATIENT born 19700101")
    assert "TEST" not in stream.getvalue()
    assert len(_events(stream)) == 1


def test_a_log_that_cannot_be_written_holds_nothing_up(stream: io.StringIO) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = Full()
    configure_logs(Settings(), stream=full)
    structlog.get_logger().info("study queued")
    logging.getLogger("anything").error("TEST^PATIENT")
    assert full.getvalue().count("study queued") == 1
    assert stream.getvalue() == ""


def test_of_an_exception_only_class_and_place_are_logged(stream: io.StringIO) -> None:
    try:
        raise KeyError("TEST^PATIENT")
    except KeyError:
        structlog.get_logger().exception("step failed")
    (event,) = _events(stream)
    assert event["error"] == "KeyError"
    assert str(event["where"]).startswith("test_logs.py:")
    assert "TEST^PATIENT" not in stream.getvalue()


@pytest.mark.parametrize(
    "name", ["pynetdicom.assoc", "pydicom", "sqlalchemy.engine.Engine", "dbos", "some.library"]
)
def test_libraries_cannot_log_their_messages(stream: io.StringIO, name: str) -> None:
    logger = logging.getLogger(name)
    logger.info("TEST^PATIENT")
    try:
        raise ValueError("TEST^PATIENT")
    except ValueError:
        logger.exception("TEST^%s", "PATIENT")
    (event,) = _events(stream)
    assert (event["event"], event["logger"], event["error"]) == ("library message", name, "ValueError")
    assert "TEST" not in stream.getvalue()


def test_the_level_is_kept(stream: io.StringIO) -> None:
    structlog.get_logger().debug("study queued")
    assert stream.getvalue() == ""
