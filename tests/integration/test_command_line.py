from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest
from sqlalchemy.orm import Session

from dicom_node.cli import COMMANDS
from storage.database import connect, migrate
from storage.tables import Encounter, Patient, Photograph, Scoring
from tests.command import facenorm

_FEATURES = {"d_xperc": 0.1, "d_xstr": 0.2, "d_xpsnr": 21.5, "d_wbc": 0.3, "d_wcorr": 0.4}
_COMMAND = [sys.executable, "-c", "from dicom_node.cli import app; app(prog_name='facenorm')"]


def _facenorm(
    *arguments: str, stdout: IO[str] | int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "PYTHONPATH": str(Path.cwd()), **environment},
    )


def _history(*arguments: str) -> subprocess.CompletedProcess[str]:
    return facenorm("history", *arguments, env={"COLUMNS": "200"})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Two encounters of one patient, the later one received first, and a namesake of another issuer."""
    engine = connect(f"sqlite:///{tmp_path / 'data' / 'facenorm.sqlite'}")
    migrate(engine)
    now = datetime(2026, 3, 2, tzinfo=UTC)
    with Session(engine) as session, session.begin():
        for number, issuer in enumerate(("ONE", "TWO"), start=1):
            session.add(Patient(id=number, patient_id="TEST-0001", issuer_of_patient_id=issuer))
        session.flush()
        for number, date in enumerate(("20260302", "20260101"), start=1):
            session.add(
                Encounter(
                    id=number,
                    patient_pk=1,
                    study_instance_uid=f"2.25.{number}",
                    study_date=date,
                    accession_number=f"TEST-ACC-{number}",
                    last_received_at=now,
                )
            )
        session.flush()
        for number, encounter in ((1, 1), (2, 2), (3, 2)):
            session.add(
                Photograph(
                    id=number,
                    encounter_pk=encounter,
                    sop_instance_uid=f"2.25.10{number}",
                    sop_class_uid="1.2",
                    series_instance_uid="2.25.9",
                    transfer_syntax_uid="1.2",
                    sha256="0" * 64,
                    size_bytes=1,
                    path="photograph/none.dcm",
                    calling_ae_title="CAMERA",
                    received_at=now,
                )
            )
        session.flush()
        shared = {"setup_digest": "d", "generator": "g", "regressor": "r", "seed": 0, "created_at": now}
        session.add(
            Scoring(
                photograph_pk=1,
                status="scored",
                score=5.25,
                uncertainty=0.5,
                result={"features": _FEATURES},
                **shared,
            )
        )
        session.add(Scoring(photograph_pk=2, status="rejected", result={"reason": "no_face"}, **shared))
    engine.dispose()
    file = tmp_path / "facenorm.toml"
    file.write_text(f'[data]\nfolder = "{tmp_path / "data"}"\n')
    return file


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    asked = _facenorm("--help")
    assert asked.returncode == 0
    assert all(name in asked.stdout for name in COMMANDS)
    code = (
        "import sys; from dicom_node.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'dbos', 'sqlalchemy', 'pydicom', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "command", ["score", "pairs", "calibrate", "losses", "iterates", "rating-set export"]
)
def test_help_says_where_the_defaults_of_scoring_come_from(command: str) -> None:
    said = " ".join(facenorm(*command.split(), "--help", env={"COLUMNS": "300"}).stdout.split())
    for key, default in (("generator", "mobilestylegan-ffhq"), ("device", "auto"), ("seed", "0")):
        if f"--{key} " in said:
            assert f"[default: (scoring.{key} in the settings, else {default})]" in said
    assert "--device" in said


@pytest.mark.parametrize("command", ["score", "calibrate"])
def test_help_names_every_section_that_decides_what_is_measured(command: str) -> None:
    said = " ".join(facenorm(command, "--help", env={"COLUMNS": "300"}).stdout.split())
    assert 'What no option says comes from the settings\' sections "scoring" and "quality".' in said


def test_wrong_usage_ends_with_status_2() -> None:
    for arguments in (("nothing",), ("history",)):
        assert _facenorm(*arguments).returncode == 2, arguments
    assert _history("X", "--colour").returncode == 2


def test_the_version_is_printed() -> None:
    assert _facenorm("--version").stdout.startswith("facenorm 0.")


def test_history_prints_encounters_in_order_as_json(config: Path) -> None:
    done = _history("TEST-0001", "--issuer", "ONE", "--json", "--config", str(config))
    assert done.returncode == 0, done.stderr
    entries = json.loads(done.stdout)
    assert [(entry["sop_instance_uid"], entry["status"]) for entry in entries] == [
        ("2.25.102", "rejected"),
        ("2.25.103", "waiting"),
        ("2.25.101", "scored"),
    ]
    assert entries[0]["reason"] == "no_face"
    assert (entries[2]["score"], entries[2]["uncertainty"], entries[2]["features"]) == (5.25, 0.5, _FEATURES)


def test_history_prints_a_table(config: Path) -> None:
    done = _facenorm("history", "TEST-0001", "--issuer", "ONE", "--config", str(config))
    for text in ("20260302", "TEST-ACC-1", "2.25.101", "5.25", "no_face", "waiting", "d_xpsnr 21.500"):
        assert text in done.stdout


@pytest.mark.parametrize("columns", ["80", "40"])
def test_nothing_of_the_history_is_cut_where_the_terminal_is_narrow(config: Path, columns: str) -> None:
    done = facenorm("history", "TEST-0001", "--issuer", "ONE", "--config", config, env={"COLUMNS": columns})
    assert (done.returncode, "…" in done.stdout) == (0, False), done.stdout


def test_an_unknown_patient_ends_with_status_1_and_a_reason(config: Path) -> None:
    done = _history("TEST-0404", "--config", str(config))
    assert (done.returncode, done.stdout) == (1, "")
    assert "No photograph of a patient with this identifier" in done.stderr


@pytest.mark.parametrize(
    "asked",
    [
        ("history", "M\udcfcller"),
        ("history", "TEST-0001", "--issuer", "M\udcfcller"),
        ("rescore", "M\udcfcller"),
        ("patient", "merge", "M\udcfcller", "TEST-0001"),
        ("patient", "erase", "M\udcfcller", "--yes"),
    ],
)
def test_an_identifier_in_another_encoding_is_of_an_unknown_patient(
    config: Path, asked: tuple[str, ...]
) -> None:
    done = facenorm(*asked, "--config", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No photograph of a patient with this identifier" in done.stderr


def test_an_identifier_of_two_issuers_needs_the_issuer(config: Path) -> None:
    done = _history("TEST-0001", "--config", str(config))
    assert (done.returncode, done.stdout) == (1, "")
    assert "--issuer" in done.stderr


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_output_that_cannot_be_written_ends_with_status_1_and_a_line(
    config: Path, form: tuple[str, ...]
) -> None:
    asked = ("history", "TEST-0001", "--issuer", "ONE", *form, "--config", str(config))
    with Path("/dev/full").open("w") as full:
        done = _facenorm(*asked, stdout=full)
    assert (done.returncode, done.stderr) == (
        1,
        "facenorm: the output cannot be written (No space left on device)\n",
    )


def test_where_there_is_no_standard_output_nothing_is_printed(config: Path) -> None:
    asked = ("history", "TEST-0001", "--issuer", "ONE", "--csv", "--config", str(config))
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" >&-', *_COMMAND, *asked], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_has_gone_away_is_no_error_to_tell_of(config: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    asked = ("history", "TEST-0001", "--issuer", "ONE", "--csv", "--config", str(config))
    done = _facenorm(*asked, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_name_that_the_terminal_cannot_show_is_written_escaped(config: Path) -> None:
    archive = config.with_name("M\udcfcller.tar")  # a file's name in another encoding
    done = _facenorm("backup", str(archive), "--config", str(config), PYTHONIOENCODING="utf-8:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert "M\\udcfcller.tar: the database and" in done.stdout


def test_a_weights_cache_that_cannot_be_made_is_told_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        done = facenorm("models", "fetch", env={"FACENORM_CACHE": str(cache), "COLUMNS": "40"})
        assert (done.returncode, done.stdout) == (1, "")
        assert f"the weights cache {cache} cannot be written" in done.stderr
        assert "set FACENORM_CACHE" in done.stderr


def test_wrong_settings_end_with_status_2_and_the_key(config: Path) -> None:
    config.write_text("[data]\nfoldr = 'x'\n")
    done = _history("TEST-0001", "--config", str(config))
    assert done.returncode == 2
    assert "data.foldr: there is no such key; did you mean folder?" in done.stderr
