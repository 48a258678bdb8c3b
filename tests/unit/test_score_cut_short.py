"""`facenorm score` that ends before every photograph had its turn; the scorer is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from pipeline.result import Provenance, Rejection, RejectionReason
from tests.report_samples import provenance


class _Scorer:
    """Rejects the first photograph, and at the second one raises what it was made with."""

    def __init__(self, end: BaseException) -> None:
        self.end: BaseException | None = None
        self._next = end

    @property
    def provenance(self) -> Provenance:
        return provenance()

    def score_file(self, *_: object) -> Rejection:
        if self.end:
            raise self.end
        self.end = self._next
        return Rejection(RejectionReason.NO_FACE, "No frontal face.")


def _cut_short(
    folder: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException, *options: str
) -> tuple[Result, str]:
    photographs = [folder / f"{name}.jpg" for name in ("first", "second", "third")]
    for photograph in photographs:
        photograph.touch()
    monkeypatch.setattr("dicom_node.commands.score._load", lambda *_: _Scorer(end))
    done = CliRunner().invoke(app, ["score", *map(str, photographs), *options])
    return done, str(photographs[0])


def test_ctrl_c_prints_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, first = _cut_short(tmp_path, monkeypatch, KeyboardInterrupt(), "--json")
    assert done.exit_code == 130
    assert [one["photo"] for one in json.loads(done.stdout)] == [first]
    assert done.stderr.splitlines()[-1] == "facenorm score: interrupted after 1 of 3 photographs"


def test_a_failure_prints_what_is_finished_and_quotes_nothing_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, first = _cut_short(tmp_path, monkeypatch, RuntimeError("TEST^PATIENT"), "--json")
    assert done.exit_code == 2
    assert [one["photo"] for one in json.loads(done.stdout)] == [first]
    assert done.stderr.splitlines()[-1].endswith("second.jpg: failed with RuntimeError")
    assert "TEST^PATIENT" not in done.output
