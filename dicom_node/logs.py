"""Logs on standard error that cannot hold patient data: what is not on a list is left out."""

from __future__ import annotations

import logging
import re
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO, cast

import pydicom.config
import structlog
from structlog.typing import EventDict, WrappedLogger

from dicom_node.settings import Settings

# Keys that an event may carry: UIDs, AE titles, counts, states, durations, classes of errors. Never add one
# whose value comes from a patient, study or image attribute, or is the text of an error.
ALLOWED_KEYS = frozenset(
    {
        "ae_title",
        "artefacts",
        "attempt",
        "attempts",
        "called_ae_title",
        "calling_ae_title",
        "chore",
        "count",
        "destination",
        "destinations",
        "error",
        "event",
        "generator",
        "host",
        "kind",
        "level",
        "logger",
        "next_due",
        "outcome",
        "peer_address",
        "photographs",
        "port",
        "profile",
        "reason",
        "regressor",
        "seconds",
        "senders",
        "series_instance_uid",
        "size_bytes",
        "sop_class_uid",
        "sop_instance_uid",
        "stage",
        "state",
        "status",
        "status_port",
        "step",
        "study_instance_uid",
        "timestamp",
        "transfer_syntax_uid",
        "version",
        "where",
        "workflow_id",
    }
)
# Peers choose their AE titles and UIDs: no line breaks or escape sequences from them, and no long texts.
_PLAIN = re.compile(r"[\x20-\x7e]{0,160}")
# The words of an event are ours and constant; '^' and digits are what names and identifiers have.
_EVENT = re.compile(r"[A-Za-z][A-Za-z ,;:'_-]{0,79}")
# A class of error or a status, not its message.
_WORD = re.compile(r"[A-Za-z0-9_.]{0,80}")
_WORD_KEYS = frozenset({"error", "reason", "outcome", "state", "kind"})
# These log datasets, identifiers or parameters below (some even at) warning level.
_QUIET = ("pynetdicom", "pydicom", "sqlalchemy", "alembic", "dbos", "apscheduler", "httpx", "PIL")


def configure_logs(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send our events and the libraries' warnings to `stream` (standard error when None).

    Of an exception the class and the place are told, never the
    message. Of a library's warning only the logger, the place and the class of error: its text may
    quote a dataset. Call it once, when a process starts.
    """
    threshold = getattr(logging, settings.log.level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            describe_exception,
            drop_unlisted,
            structlog.processors.JSONRenderer(sort_keys=True)
            if settings.log.format == "json"
            else structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _WhileItCan(stream or sys.stderr))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_LibraryHandler(max(threshold, logging.WARNING))]
    root.setLevel(logging.WARNING)
    for name in _QUIET:
        logger = logging.getLogger(name)
        # Some install handlers of their own, which would print the whole message.
        logger.handlers.clear()
        logger.setLevel(logging.ERROR)
        logger.propagate = True
    # What pydicom finds invalid it quotes in a warning; we check what we read ourselves.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")


def watch_threads() -> None:
    """Log class and place of an exception that ends a thread; Python would print all of it."""

    def log(failed: threading.ExceptHookArgs) -> None:
        structlog.get_logger(__name__).error(
            "thread failed", error=failed.exc_type.__name__, where=innermost(failed.exc_traceback)
        )

    threading.excepthook = log


def drop_unlisted(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Drop every key that is not on the list, and every value that is not a plain number or short text."""
    return {key: value for key, value in event_dict.items() if key in ALLOWED_KEYS and _is_plain(key, value)}


def describe_exception(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Replace an exception by its class and the place where it was raised."""
    info = event_dict.pop("exc_info", None)
    error: object = info
    if info is True:
        error = sys.exc_info()[1]
    elif isinstance(info, tuple):
        error = info[1]
    if isinstance(error, BaseException):
        event_dict["error"] = type(error).__name__
        event_dict["where"] = innermost(error.__traceback__)
    return event_dict


def innermost(traceback: TracebackType | None) -> str:
    """Return `file:line` of the innermost frame, '' without one."""
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"


def _is_plain(key: str, value: object) -> bool:
    if isinstance(value, str):
        pattern = _EVENT if key == "event" else _WORD if key in _WORD_KEYS else _PLAIN
        return pattern.fullmatch(value) is not None
    return value is None or isinstance(value, bool | int | float)


class _WhileItCan:
    """A stream whose reader may go away, or its disk fill up: photographs are taken and sent all the same."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class _LibraryHandler(logging.Handler):
    """Turns a library's record into an event without its message."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno,
            "library message",
            logger=record.name,
            where=f"{Path(record.pathname).name}:{record.lineno}",
            error=error.__name__ if error else None,
        )
