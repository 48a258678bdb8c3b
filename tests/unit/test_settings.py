from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dicom_node.settings import SettingsError, load_settings

_FILE = """
[node]
ae_title = "NODE"
port = 4242
[data]
folder = "somewhere"
[[senders]]
ae_title = "CAMERA"
host = "192.0.2.7"
[[destinations]]
ae_title = "PACS"
host = "192.0.2.8"
port = 104
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "facenorm.toml"


def test_every_key_has_a_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None)
    assert (settings.node.ae_title, settings.node.host, settings.node.port) == (
        "FACENORM",
        "127.0.0.1",
        11112,
    )
    assert (settings.trigger.quiet_seconds, settings.scoring.profile) == (10, "fast")
    assert (settings.status.host, settings.status.port) == ("127.0.0.1", 8080)
    assert settings.senders == settings.destinations == ()
    assert settings.database_url == f"sqlite:///{tmp_path}/facenorm-data/facenorm.sqlite"


def test_the_environment_wins_over_the_file_key_by_key(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(_FILE)
    monkeypatch.setenv("FACENORM_NODE__PORT", "104")
    monkeypatch.setenv("FACENORM_SENDERS", '[{"ae_title": "OTHER"}]')
    monkeypatch.setenv("FACENORM_REQUIRE_PEERS", "1")
    settings = load_settings(config)
    assert (settings.node.ae_title, settings.node.port) == ("NODE", 104)
    assert [sender.ae_title for sender in settings.senders] == ["OTHER"]
    assert settings.destinations[0].storage_commitment is False


def test_settings_cannot_be_changed(config: Path) -> None:
    config.write_text(_FILE)
    settings = load_settings(config)
    with pytest.raises(ValidationError):
        settings.node.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[node]\nprot = 1", "node.prot: there is no such key; did you mean port?"),
        ("[nodes]\nport = 1", "nodes: there is no such key; did you mean node?"),
        ("[node]\nport = 'high'", "node.port: input should be a valid integer"),
        ("[node]\nport = 70000", "node.port: input should be less than or equal to 65535"),
        ("[node]\nae_title = 'MORE THAN SIXTEEN'", "node.ae_title: string should have at most 16"),
        (
            "[node]\nmaximum_associations = 201",
            "node.maximum_associations: input should be less than",
        ),
        ("[node]\nae_title = 'A\\B'", "node.ae_title: an AE title has 1 to 16 printable"),
        ("[scoring]\nprofile = 'quick'", "scoring.profile: input should be 'fast'"),
        ("[[destinations]]\nae_title = 'PACS'\nport = 104", "destinations.0.host: is required; add it"),
        (
            "[[destinations]]\nae_title='A'\nport=1\nhost='pacs..example'",
            "destinations.0.host: write the name",
        ),
        ("[[senders]]\nae_title='A'\nhost='a camera'", "senders.0.host: write the name or the address"),
        (
            "[[senders]]\nae_title = 'A'\nzzz = 1",
            "senders.0.zzz: there is no such key; known: ae_title, host",
        ),
        ("[trigger]\nquiet_seconds = -1", "trigger.quiet_seconds"),
        ("[trigger]\nquiet_seconds = inf", "trigger.quiet_seconds: input should be less than or equal to"),
        ("[delivery]\nmax_retry_seconds = inf", "delivery.max_retry_seconds: input should be less than or"),
        ("[retention]\ninstances_days = 999999", "retention.instances_days: input should be less than or"),
        (
            "[delivery]\nfirst_retry_seconds = 9\nmax_retry_seconds = 8",
            "delivery: max_retry_seconds must not be smaller",
        ),
        (
            "[[destinations]]\nae_title='A'\nhost='a'\nport=1\n[[destinations]]\nae_title='A'\nhost='b'\nport=1",
            "every destination needs an ae_title of its own",
        ),
        ("[priors]\nae_title = 'A\\B'", "priors.ae_title: an AE title has 1 to 16 printable"),
        ("[node\n", "not valid TOML"),
        (
            "[[senders]]\nae_title='A'\nhost='a'\ncommitment_port=1\n[[senders]]\nae_title='A'\nhost='b'",
            "senders: A has a commitment_port, and so must stand in one entry only",
        ),
        ("node = 3", "node: this is a table, not a single value"),
        ("senders = 4", "senders: this is a list"),
        ("destinations = [1]", "destinations.0: this is a table"),
        ("[data]\nfolder = 3", "data.folder: input should be a path; put it into quotes"),
        ("[data]\nfolder = ''", "data.folder: write the path of a folder"),
        ("[data]\nfiles_endpoint = 'ftp://x'", "data.files_endpoint: write https://HOST"),
        ("[data]\ndatabase_url = 'postgres://u:x@h/d'", "data.database_url: write postgresql://USER"),
        ("[data]\ndatabase_url = 'sqlite://'", "data.database_url: write sqlite:////FOLDER/FILE"),
        ("[data]\ndatabase_url = 'sqlite:///:memory:'", "data.database_url: write sqlite:////FOLDER/FILE"),
        ("[data]\ndatabase_url = 'sqlite:/a/file'", "data.database_url: write postgresql://USER"),
        ("[data]\ndatabase_url = 'postgresql://u:x@h:port/d'", "data.database_url: write postgresql://USER"),
        ("[data]\ndatabase_url = 'postgresql://u:x@y:z@h/d'", "an '@' in the password as %40"),
        ("[data]\ndatabase_url = 'mysql://u:x@h/d'", "data.database_url: write postgresql://USER"),
        (
            "[node]\nhost = '127.0.0.1:104'",
            "node.host: write the name or the address of a host, without a port",
        ),
        (
            "[[destinations]]\nae_title='A'\nhost='[::1]'\nport=1",
            "destinations.0.host: write the name or the",
        ),
        ("[[senders]]\nae_title='A'\nhost='dicom://pacs'", "senders.0.host: write the name or the address"),
        ("[scoring]\ndevice = 'gpu'", "scoring.device: write auto, cpu, cuda or cuda:1"),
        ("[quality]\nrejected_rival = inf", "quality.rejected_rival: input should be a finite number"),
        ("[status]\ntoken = 'short'", "status.token: write 16 characters or more, ASCII without blanks"),
    ],
)
def test_errors_name_the_key_and_what_to_do(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(config)
    assert message in str(caught.value)
    assert str(config) in str(caught.value)


def test_a_value_in_the_place_of_a_section_is_told_also_where_the_environment_has_keys_of_it(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('data = "/srv/facenorm"')
    monkeypatch.setenv("FACENORM_DATA__DATABASE_URL", "postgresql://u:x@h/d")
    with pytest.raises(SettingsError, match="data: this is a table, not a single value"):
        load_settings(config)


def test_a_line_break_at_the_end_of_a_secret_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACENORM_STATUS__TOKEN", "a-token-for-these-tests\n")
    monkeypatch.setenv("FACENORM_DATA__DATABASE_URL", "postgresql://u:x@h/d\n")  # as a secret's file has it
    settings = load_settings(None)
    assert settings.status.token == "a-token-for-these-tests"
    assert settings.database_url == "postgresql://u:x@h/d"


def test_a_missing_file_is_named(config: Path) -> None:
    with pytest.raises(SettingsError, match=r"facenorm\.toml: No such file.*--config"):
        load_settings(config)


def test_errors_do_not_repeat_values(config: Path) -> None:
    config.write_text("[data]\ndatabase_url = 'hunter2'\nminimum_free_megabytes = 'hunter2'")
    with pytest.raises(SettingsError) as caught:
        load_settings(config)
    assert "hunter2" not in str(caught.value)


def test_the_mark_that_editors_on_windows_begin_a_file_with_is_passed_over(config: Path) -> None:
    config.write_text(_FILE.strip(), "utf-8-sig")
    assert load_settings(config).node.port == 4242


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FACENORM_NODE__PROT", "1", "node.prot: there is no such key"),
        ("FACENORM_SENDERS", "CAMERA", "not valid JSON"),
        (
            "FACENORM_STATUSS__TOKEN",
            "x",
            r"FACENORM_STATUSS__TOKEN: there is no such section; did you mean FACE",
        ),
    ],
)
def test_wrong_environment_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        load_settings(None)
