"""The scoring process as the node uses it: a real child, with a scorer that does what a test asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from dicom_node.logs import configure_logs
from dicom_node.scorer_loading import ScorerUnusableError
from dicom_node.scoring_child import NICENESS
from dicom_node.scoring_process import (
    ScorerChangedError,
    ScoringEndedError,
    ScoringError,
    ScoringFailedError,
    ScoringProcess,
    ScoringTimeoutError,
)
from dicom_node.settings import Settings
from pipeline.result import Rejection, Scored
from tests.integration.running_node import is_gone
from tests.sample_score import pattern, score
from tests.told_scorer import SECRET, ToldScorer

REPOSITORY = Path(__file__).parents[2]
FINE = Path("fine")


@contextmanager
def _scoring(folder: Path, *, timeout: float = 30) -> Iterator[ScoringProcess]:
    process = ScoringProcess(
        partial(ToldScorer, folder / "born"),
        timeout_seconds=timeout,
        prepare_logs=partial(configure_logs, Settings()),
    )
    try:
        process.start()
        yield process
    finally:
        process.close()


def _score(process: ScoringProcess, path: Path) -> Scored | Rejection:
    (result,) = process.score_files([path])
    return result


def _born(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "born").read_text().split()]


def _gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not (gone := is_gone(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return gone


def test_one_child_answers_every_photograph_and_ends_when_closed(tmp_path: Path) -> None:
    with _scoring(tmp_path) as process:
        results = [_score(process, FINE) for _ in range(2)]
        blended = process.blend_file(FINE, pattern(48, 40))
        standing = _score(process, Path("priority"))
        assert process.is_loaded
        (pid,) = _born(tmp_path)
    assert isinstance(results[0], Scored)
    assert isinstance(standing, Rejection)
    assert results[0].score == results[1].score == score(provenance=process.provenance)
    assert results[0].score.seconds == score().seconds
    np.testing.assert_array_equal(results[0].images.normalized, pattern(64, 64))
    np.testing.assert_array_equal(blended, pattern(48, 40))
    assert standing.detail == f"niceness {os.nice(0) + NICENESS}, core (0, 0)"
    assert pid != os.getpid()
    assert _gone(pid)


@pytest.mark.parametrize(
    ("told", "error"),
    [("crash", ScoringEndedError), ("raise", ScoringFailedError), ("sleep", ScoringTimeoutError)],
)
def test_after_a_failure_a_new_child_goes_on(
    tmp_path: Path, told: str, error: type[ScoringError], capfd: pytest.CaptureFixture[str]
) -> None:
    with _scoring(tmp_path, timeout=1.0 if told == "sleep" else 30) as process:
        with capture_logs() as logs, pytest.raises(error) as raised:
            _score(process, Path(told))
        first, *_ = _born(tmp_path)
        assert _gone(first)
        assert isinstance(_score(process, FINE), Scored)
        assert len(_born(tmp_path)) == 2
    output = capfd.readouterr().err
    match told:
        case "crash":
            assert [(log["event"], log["error"]) for log in logs] == [("scoring process ended", "SIGSEGV")]
        case "raise":
            # The child's own log, in the format of the settings.
            assert "scoring failed" in output
            assert "error=ValueError where=told_scorer.py" in output
        case _:
            assert [log["event"] for log in logs] == ["scoring process took too long"]
    assert SECRET not in output + str(raised.value) + str(logs)
    assert "Traceback" not in output


def test_a_child_that_was_killed_between_photographs_is_not_missed(tmp_path: Path) -> None:
    with _scoring(tmp_path) as process:
        os.kill(_born(tmp_path)[0], signal.SIGKILL)
        assert _gone(_born(tmp_path)[0])
        assert isinstance(_score(process, FINE), Scored)


def test_a_terminal_or_service_manager_that_signals_everybody_leaves_the_child_to_the_node(
    tmp_path: Path,
) -> None:
    with _scoring(tmp_path) as process:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(_born(tmp_path)[0], number)
        assert isinstance(_score(process, FINE), Scored)
        assert len(_born(tmp_path)) == 1


def test_scores_of_other_weights_are_not_taken_for_those_of_the_first(tmp_path: Path) -> None:
    with _scoring(tmp_path) as process:
        (tmp_path / "other weights").touch()
        os.kill(_born(tmp_path)[0], signal.SIGKILL)
        assert _gone(_born(tmp_path)[0])
        for _ in range(2):
            with pytest.raises(ScorerChangedError):
                _score(process, FINE)
        assert not process.is_loaded
        (tmp_path / "other weights").unlink()
        assert isinstance(_score(process, FINE), Scored)
        assert process.is_loaded


@pytest.mark.parametrize(
    ("unusable", "error", "text"),
    [
        ("no weights: fetch them", ScorerUnusableError, "no weights: fetch them"),
        ("raise", ScoringFailedError, "ValueError"),
        ("crash", ScoringEndedError, "SIGSEGV"),
    ],
)
def test_a_scorer_that_cannot_be_made_is_told_from_the_child(
    tmp_path: Path, unusable: str, error: type[Exception], text: str
) -> None:
    process = ScoringProcess(
        partial(ToldScorer, tmp_path / "born", unusable), timeout_seconds=9, prepare_logs=int
    )
    with pytest.raises(error, match=text):
        process.start()
    process.close()


def test_closing_cuts_a_scoring_off(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def score_slowly(process: ScoringProcess) -> None:
        try:
            _score(process, Path("hold"))
        except ScoringEndedError as error:
            errors.append(error)

    with _scoring(tmp_path) as process:
        thread = threading.Thread(target=score_slowly, args=(process,))
        thread.start()
        time.sleep(0.3)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    thread.join(5)
    assert len(errors) == 1
    assert _gone(_born(tmp_path)[0])
    with pytest.raises(ScoringEndedError, match="stopping"):
        _score(process, FINE)


def test_a_killed_parent_leaves_no_child_even_one_in_native_code(tmp_path: Path) -> None:
    code = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "from dicom_node.scoring_process import ScoringProcess; from tests.told_scorer import ToldScorer\n"
        "s = ScoringProcess(partial(ToldScorer, Path(sys.argv[1])), timeout_seconds=60, prepare_logs=int)\n"
        "s.start(); print('ready', flush=True); s.score_files([Path('hold')])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "born")]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        (pid,) = _born(tmp_path)
        time.sleep(0.3)  # the child is in native code now
        assert not _gone(pid, 0.1)
        parent.kill()
    assert _gone(pid)
