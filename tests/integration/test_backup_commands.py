"""`facenorm backup`, `facenorm restore` and `facenorm config check`."""

from __future__ import annotations

import errno
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.data_folder import FolderInUseError, FolderLock
from storage.instances import InstanceStore
from storage.tables import AuditEvent, Photograph
from tests.receiving import RunningReceiver, changed, photograph, running_receiver, send


def _run(folder: Path, *arguments: str | Path, database: Path | None = None) -> Result:
    config = folder.parent / f"{folder.name}.toml"
    url = f'database_url = "sqlite:///{database}"\n' if database else ""
    config.write_text(f'[data]\nfolder = "{folder}"\n{url}')
    return CliRunner().invoke(app, [*map(str, arguments), "--config", str(config)])


def _contents(receiver: RunningReceiver) -> dict[str, bytes]:
    return {
        str(path.relative_to(receiver.folder)): path.read_bytes()
        for kind in ("photograph", "quarantine")
        for path in receiver.files(kind)
    }


def test_a_running_node_is_backed_up_and_restored_elsewhere(tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph(), photograph(), changed(photograph(), PatientID=None)) == [
            0x0000, 0x0000, 0xC000,
        ]  # fmt: skip
        saved = _run(receiver.folder, "backup", archive)
        assert (saved.exit_code, "the database and 3 files" in saved.output) == (0, True), saved.output
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        assert send(receiver, photograph()) == [0x0000]  # after the backup
        before = {row.sop_instance_uid: row.sha256 for row in receiver.rows(Photograph)[:2]}
        kept = _contents(receiver)
    restored = _run(tmp_path / "other", "restore", archive)
    assert (restored.exit_code, "Files and database agree." in restored.output) == (0, True), restored.output
    assert not list(tmp_path.glob(".*"))
    with running_receiver(tmp_path / "other") as receiver:
        assert {row.sop_instance_uid: row.sha256 for row in receiver.rows(Photograph)} == before
        assert _contents(receiver).items() <= kept.items()
        assert len(_contents(receiver)) == 3
        assert [row.event for row in receiver.rows(AuditEvent)][-1] == "exported"
        assert stat.S_IMODE(receiver.folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in receiver.files("photograph")} == {0o600}
        assert send(receiver, photograph()) == [0x0000]


@pytest.mark.parametrize("name", ["node #2", "100%25", "which?node=2"])
def test_a_folder_may_be_called_what_means_something_else_in_a_url(tmp_path: Path, name: str) -> None:
    archive, elsewhere = tmp_path / "backup.tar", tmp_path / "elsewhere"
    with running_receiver(tmp_path / name) as receiver:
        assert send(receiver, photograph()) == [0x0000]
        saved = _run(receiver.folder, "backup", archive)
        assert (saved.exit_code, "the database and 1 files" in saved.output) == (0, True), saved.output
        assert (receiver.folder / "facenorm.sqlite").exists()
    restored = _run(elsewhere, "restore", archive)
    assert (restored.exit_code, "Files and database agree." in restored.output) == (0, True), restored.output
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {name, elsewhere.name}


def test_nobody_else_can_read_a_backup_whose_place_was_taken(tmp_path: Path) -> None:
    archive, partial = tmp_path / "backup.tar", tmp_path / "backup.tar.partial"
    partial.touch(mode=0o666)
    partial.chmod(0o666)
    with running_receiver(tmp_path / "data") as receiver:
        assert _run(receiver.folder, "backup", archive).exit_code == 0
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600


def test_files_are_counted_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph(), photograph()) == [0x0000, 0x0000]
    for terminal in ("", "1"):
        archive, other = tmp_path / f"backup{terminal}.tar", tmp_path / f"other{terminal}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FORCE_COLOR", terminal)
            done = (
                _run(tmp_path / "data", "backup", archive),
                _run(tmp_path / "data", "check"),
                _run(other, "restore", archive),
            )
        assert [one.exit_code for one in done] == [0, 0, 0]
        for one in done:
            assert re.search(r"[23]/[23]", one.stderr) if terminal else one.stderr == ""


def test_a_user_without_a_name_may_back_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")  # as in a container with a user of its own

    monkeypatch.setattr("getpass.getuser", nameless)
    with running_receiver(tmp_path / "data") as receiver:
        saved = _run(receiver.folder, "backup", tmp_path / "backup.tar")
        assert (saved.exit_code, saved.exception) == (0, None)
        assert [row.actor for row in receiver.rows(AuditEvent)][-1] == "operator"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    with running_receiver(tmp_path / "data") as receiver:
        assert _run(receiver.folder, "backup", archive).exit_code == 0
        again = _run(receiver.folder, "backup", archive)
        assert (again.exit_code, "exists" in again.output) == (1, True)
        onto = _run(receiver.folder, "restore", archive)
        assert (onto.exit_code, "is not empty" in onto.output) == (1, True)


@pytest.mark.parametrize("archive", ["", ".", "/"])
def test_a_folder_in_the_place_of_the_file_to_write_is_told(tmp_path: Path, archive: str) -> None:
    assert _run(tmp_path / "data", "migrate").exit_code == 0
    saved = _run(tmp_path / "data", "backup", archive)
    assert (saved.exit_code, "is a folder; name the file" in saved.output) == (1, True), saved.output


@pytest.mark.parametrize(
    "name", ["../outside.dcm", "photograph/aa/../../../x.dcm", "node.lock", "photograph/x"]
)
def test_an_archive_that_is_no_backup_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    archive, content = tmp_path / "backup.tar", tmp_path / "content"
    content.write_bytes(b"x")
    with tarfile.open(archive, "w") as made:
        made.add(content, "facenorm.sqlite")
        made.add(content, name)
    refused = _run(tmp_path / "data", "restore", archive)
    assert refused.exit_code == 1
    assert not (tmp_path / "data").exists()
    content.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "data.toml"]


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph()) == [0x0000]
        assert _run(receiver.folder, "backup", archive).exit_code == 0
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    refused = _run(tmp_path / "other", "restore", archive)
    assert (refused.exit_code, "cannot be restored" in refused.output) == (1, True)


def test_what_breaks_off_leaves_the_folder_empty_for_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, folder = tmp_path / "backup.tar", tmp_path / "other"
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph()) == [0x0000]
        assert _run(receiver.folder, "backup", archive).exit_code == 0
    unpack = tarfile.TarFile.extractall

    def until_the_disk_is_full(*arguments: Any, **named: Any) -> None:
        unpack(*arguments, **named)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(tarfile.TarFile, "extractall", until_the_disk_is_full)
        assert "No space left on device" in _run(folder, "restore", archive).output
    assert [path.name for path in folder.iterdir()] == ["node.lock"]
    assert _run(folder, "restore", archive).exit_code == 0


def test_the_database_is_restored_where_the_settings_want_it_and_over_no_other(tmp_path: Path) -> None:
    archive, folder, database = (
        tmp_path / "backup.tar",
        tmp_path / "other",
        tmp_path / "tables" / "node.sqlite",
    )
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph()) == [0x0000]
        assert _run(receiver.folder, "backup", archive).exit_code == 0
    restored = _run(folder, "restore", archive, database=database)
    assert (restored.exit_code, "Files and database agree." in restored.output) == (0, True), restored.output
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["node.lock", "photograph"]
    again = _run(tmp_path / "third", "restore", archive, database=database)
    assert (again.exit_code, "is a database already" in again.output) == (1, True), again.output
    assert not (tmp_path / "third").exists()


def test_a_file_in_the_place_of_the_data_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    refused = _run(tmp_path / "other", "restore", tmp_path / "backup.tar")
    assert (refused.exit_code, "cannot be restored" in refused.output) == (1, True)


def _killed(folder: Path, command: str, archive: Path, function: str) -> None:
    """Let the command be killed when it calls this function of `tarfile` or `shutil`."""
    code = (
        "import os, shutil, signal, sys, tarfile; from dicom_node.cli import app; "
        f"{function} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL); app()"
    )
    words = [command, str(archive), "--config", str(folder.parent / f"{folder.name}.toml")]
    killed = subprocess.run([sys.executable, "-c", code, *words], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL


def test_what_a_killed_backup_leaves_is_named_so_and_replaced_by_the_next(tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph()) == [0x0000]
    _run(tmp_path / "data", "check")
    _killed(tmp_path / "data", "backup", archive, "tarfile.TarFile.add")
    left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("backup"))
    assert left[0] == "backup.tar.partial"
    assert all(name.startswith("backup.tar.partial") for name in left)
    again = _run(tmp_path / "data", "backup", archive)
    assert (again.exit_code, "the database and 1 files" in again.output) == (0, True), again.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "data", "data.toml"]
    assert _run(tmp_path / "other", "restore", archive).exit_code == 0


def test_a_backup_that_cannot_be_recorded_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    assert _run(tmp_path / "data", "migrate").exit_code == 0
    monkeypatch.setattr("dicom_node.backup.add_audit_event", full)
    failed = _run(tmp_path / "data", "backup", tmp_path / "backup.tar")
    assert (failed.exit_code, "OperationalError" in failed.output) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "data.toml"]


def test_a_backup_is_not_disturbed_by_another_to_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, second = tmp_path / "backup.tar", []
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph()) == [0x0000]
    add = tarfile.TarFile.add

    def meanwhile(*arguments: Any, **named: Any) -> None:
        second.append(_run(tmp_path / "data", "backup", archive))
        add(*arguments, **named)

    with monkeypatch.context() as busy:
        busy.setattr(tarfile.TarFile, "add", meanwhile)
        assert _run(tmp_path / "data", "backup", archive).exit_code == 0
    assert {(one.exit_code, "another backup" in one.output) for one in second} == {(1, True)}
    assert _run(tmp_path / "other", "restore", archive).exit_code == 0


@pytest.mark.parametrize("function", ["tarfile.TarFile.chmod", "shutil.move"], ids=["unpacking", "moving"])
def test_what_a_killed_restore_leaves_is_no_history_and_is_replaced_by_the_next(
    tmp_path: Path, function: str
) -> None:
    archive, folder = tmp_path / "backup.tar", tmp_path / "other"
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph()) == [0x0000]
        assert _run(receiver.folder, "backup", archive).exit_code == 0
    _run(folder, "check")
    _killed(folder, "restore", archive, function)
    words = ["serve", "--config", str(tmp_path / "other.toml")]
    serve = [sys.executable, "-c", "from dicom_node.cli import app; app()", *words]
    refused = subprocess.run(serve, timeout=60, check=False, capture_output=True, text=True)
    assert (refused.returncode, "a restore into" in refused.stderr) == (1, True), refused.stderr
    assert not (folder / "facenorm.sqlite").exists()
    restored = _run(folder, "restore", archive)
    assert (restored.exit_code, "Files and database agree." in restored.output) == (0, True), restored.output
    assert sorted(path.name for path in folder.iterdir()) == ["facenorm.sqlite", "node.lock", "photograph"]


def test_what_came_after_a_killed_restore_is_not_replaced(tmp_path: Path) -> None:
    archive, folder = tmp_path / "backup.tar", tmp_path / "other"
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, photograph()) == [0x0000]
        assert _run(receiver.folder, "backup", archive).exit_code == 0
    _run(folder, "check")
    _killed(folder, "restore", archive, "shutil.move")
    InstanceStore(folder).write("photograph", "1.2.3", b"by a node on another database")
    refused = _run(folder, "restore", archive)
    assert (refused.exit_code, "is not empty" in refused.output) == (1, True), refused.output
    assert len(list(InstanceStore(folder).files("photograph"))) == 2


def test_no_node_starts_on_a_folder_that_is_being_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, folder = tmp_path / "backup.tar", tmp_path / "other"
    with running_receiver(tmp_path / "data") as receiver:
        assert _run(receiver.folder, "backup", archive).exit_code == 0
    unpack = tarfile.TarFile.extractall

    def meanwhile(*arguments: Any, **named: Any) -> None:
        with pytest.raises(FolderInUseError):
            FolderLock(folder)
        unpack(*arguments, **named)

    monkeypatch.setattr(tarfile.TarFile, "extractall", meanwhile)
    assert _run(folder, "restore", archive).exit_code == 0


def test_config_check_names_every_wrong_key(tmp_path: Path) -> None:
    config = tmp_path / "facenorm.toml"
    config.write_text('[node]\nprot = 1\nport = "high"\n[tresor]\n[[destinations]]\nae_title = "PACS"\n')
    result = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert result.exit_code == 2
    for key in ("node.prot", "node.port", "tresor", "destinations.0.host", "destinations.0.port"):
        assert f"{key}:" in result.output


def test_config_check_looks_at_what_the_keys_name(tmp_path: Path) -> None:
    config = tmp_path / "facenorm.toml"
    tls = '[tls]\ncertificate = "/nowhere"\nprivate_key = "/nowhere"\ntrusted = "/nowhere"\n'
    config.write_text(f'[node]\ntls = true\n{tls}[data]\nfolder = "/proc/facenorm"\n')
    result = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert result.exit_code == 1
    assert "tls.certificate /nowhere" in result.output
    for secured in ("[node]", "[priors]", '[[destinations]]\nae_title = "PACS"\nhost = "pacs"\nport = 104'):
        config.write_text(f"{secured}\ntls = true\n")
        missing = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
        assert (missing.exit_code, "certificate, private_key, trusted" in missing.output) == (2, True)
    config.write_text(f"[priors]\ntls = true\n{tls}")
    unusable = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert (unusable.exit_code, "tls.certificate /nowhere" in unusable.output) == (1, True)
    config.write_text(f'[data]\nfolder = "{tmp_path}"\n[[senders]]\nae_title = "ANY"\n')
    good = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert good.exit_code == 0
    assert "admits whoever knows its AE title" in good.output
    assert "priors.ae_title" not in good.output
    config.write_text('[priors]\nae_title = "ARCHIVE"\n[[senders]]\nae_title = "CAMERA"\n')
    refused = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert "priors.ae_title: ARCHIVE is not among the senders" in refused.output


def test_config_check_tells_of_missing_files_and_of_secrets_that_others_may_read(tmp_path: Path) -> None:
    config = tmp_path / "facenorm.toml"
    config.write_text(
        f'[data]\nfolder = "{tmp_path}"\n[scoring]\nregressor = "site.json"\ngenerator = "mine.safetensors"\n'
        '[status]\ntoken = "0123456789abcdef"\n'
    )
    config.chmod(0o640)
    told = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert told.exit_code == 0
    for key in ("scoring.regressor: there is no file /", "scoring.generator: there is no file /"):
        assert key in told.output
    assert f"status.token: others may read {config}" in told.output
    assert "0123456789abcdef" not in told.output
    config.chmod(0o600)
    alone = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert "others may read" not in alone.output
