"""Files in object storage, over the S3 protocol against moto's server; no real service was at hand."""

from __future__ import annotations

import base64
import errno
import hashlib
import stat
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.core import NodeError, open_store
from dicom_node.node import Node
from dicom_node.settings import Settings
from dicom_node.settings_sections import Data, Status
from dicom_node.settings_sections import Node as NodeSettings
from storage.file_store import FileStore, UnreachableError
from storage.instances import DamagedFileError, InstanceStore
from storage.tables import Photograph
from tests.integration.relay import Relay
from tests.integration.running_node import wait_until
from tests.peers import LOOPBACK, free_port
from tests.plain_http import get
from tests.receiving import photograph, running_receiver, send
from tests.s3_server import Place, running_s3
from tests.small_scorer import SmallScorer


def _settings(folder: Path, place: Place) -> Settings:
    return Settings(data=Data(folder=folder, **place.data))


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    if request.param == "folder":
        return InstanceStore(tmp_path)
    return open_store(_settings(tmp_path, request.getfixturevalue("bucket")))


def test_what_was_written_is_there_until_it_is_deleted(store: FileStore) -> None:
    first, again = (store.write("photograph", "1.2.3", b"content") for _ in range(2))
    assert first == again
    assert first.sha256 == hashlib.sha256(b"content").hexdigest()
    assert store.read(first.path) == store.absolute(first.path).read_bytes() == b"content"
    assert store.kinds() == ["photograph"]
    assert list(store.files("photograph")) == [first.path]
    assert store.has(first.path)
    store.delete(first.path)
    store.delete(first.path)
    assert not store.has(first.path)
    assert not store.absolute(first.path).exists()
    assert list(store.files("photograph")) == []
    with pytest.raises(FileNotFoundError):
        store.read(first.path)


@pytest.mark.parametrize("path", ["../other/00/x.dcm", "photograph/00/x", "/etc/passwd", ""])
def test_a_path_that_no_store_gave_is_refused(bucket: Place, tmp_path: Path, path: str) -> None:
    store = open_store(_settings(tmp_path, bucket))
    for use in (store.read, store.absolute, store.has, store.delete):
        with pytest.raises(ValueError, match="a stored path"):
            use(path)


def test_what_is_no_file_of_ours_is_not_listed(bucket: Place, tmp_path: Path) -> None:
    store = open_store(_settings(tmp_path, bucket))
    stored = store.write("photograph", "1.2.3", b"content")
    bucket.put("photograph/readme.txt", b"x")
    bucket.put("readme.txt", b"x")
    Place(bucket.server, bucket.prefix + "-2").put(stored.path.replace("photograph", "pictures"), b"x")
    assert store.kinds() == ["photograph"]
    assert list(store.files("photograph")) == [stored.path]


def test_the_bucket_is_sent_the_digest_of_what_it_is_to_hold(bucket: Place, tmp_path: Path) -> None:
    with Relay(bucket.server.port) as relay:
        through = {"files_endpoint": f"http://{LOOPBACK}:{relay.port}"}
        store = open_store(Settings(data=Data(folder=tmp_path, **bucket.data | through)))
        store.write("photograph", "1.2.3", b"content")
        digest = base64.b64encode(hashlib.sha256(b"content").digest())
        assert b"x-amz-checksum-sha256: " + digest in bytes(relay.heard)


def test_a_changed_object_is_noticed(bucket: Place, tmp_path: Path) -> None:
    store = open_store(_settings(tmp_path, bucket))
    stored = store.write("photograph", "1.2.3", b"content")
    bucket.put(stored.path, b"changed")
    for fetch in (store.read, store.absolute):
        with pytest.raises(DamagedFileError):
            fetch(stored.path)
    assert not list((tmp_path / "cache").rglob("*.dcm"))


def test_a_file_is_fetched_once_and_its_copy_goes_with_the_object(bucket: Place, tmp_path: Path) -> None:
    store = open_store(_settings(tmp_path, bucket))
    stored = store.write("photograph", "1.2.3", b"content")
    first = store.absolute(stored.path)
    assert first.is_relative_to(tmp_path / "cache")
    bucket.put(stored.path, b"changed")
    assert store.absolute(stored.path) == first
    assert first.read_bytes() == b"content"
    store.delete(stored.path)
    assert not first.exists()


def test_nobody_else_can_look_into_the_data_folder(bucket: Place, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    open_store(_settings(tmp_path / "data", bucket))
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_server_that_is_down_is_an_os_error_and_named_at_the_start(
    tmp_path: Path, credentials: None
) -> None:
    with running_s3() as server:
        settings = _settings(tmp_path, Place(server))
        store = open_store(settings)
        store.tidy()
        server.stop()
        for use in (lambda: store.write("photograph", "1.2.3", b"content"), store.tidy):
            with pytest.raises(OSError, match="object storage failed"):
                use()
        with pytest.raises(NodeError, match=r"data\.files_endpoint"):
            open_store(settings)


def test_a_bucket_that_is_not_there_is_named_at_the_start(bucket: Place, tmp_path: Path) -> None:
    absent = Place(bucket.server, bucket="facenorm-none")
    with pytest.raises(NodeError, match=r"s3://facenorm-none/.*no such bucket.*data\.files_url"):
        open_store(_settings(tmp_path, absent))
    config = tmp_path / "facenorm.toml"
    config.write_text(f'[data]\nfolder = "{tmp_path / "data"}"\n{absent.lines}\n')
    told = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert (told.exit_code, "no such bucket" in told.output) == (1, True), told.output
    config.write_text(f'[data]\nfolder = "{tmp_path / "data"}"\n{bucket.lines}\n')
    told = CliRunner().invoke(app, ["config", "check", "--config", str(config)])
    assert (told.exit_code, (tmp_path / "data").exists()) == (0, False), told.output


def test_only_credentials_that_the_bucket_knows_are_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bucket and six requests about users; from then on moto looks at credentials and signatures.
    with running_s3(INITIAL_NO_AUTH_ACTION_COUNT="7") as server:
        full = ("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
        good, weak = server.user("node", *full), server.user("reader", "s3:GetObject")
        settings = _settings(tmp_path, Place(server))
        wrong = good | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
        for refused in (wrong, weak, {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "x"}):
            _become(monkeypatch, refused)
            with pytest.raises(NodeError, match="does not let these credentials do that") as told:
                open_store(settings)
            assert "AWS_SECRET_ACCESS_KEY" in str(told.value)
            assert not any(value in str(told.value) for value in refused.values() if len(value) > 1)
        _become(monkeypatch, good)
        store = open_store(settings)
        stored = store.write("photograph", "1.2.3", b"content")
        assert store.read(stored.path) == b"content"
        store.delete(stored.path)


def test_missing_credentials_are_named_at_the_start(
    bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # Where a cloud's machines ask for their role.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{LOOPBACK}:{free_port()}")
    with pytest.raises(NodeError, match="AWS_ACCESS_KEY_ID"):
        open_store(_settings(tmp_path, bucket))


def test_a_photograph_is_refused_while_the_server_is_down_and_taken_later(
    tmp_path: Path, credentials: None
) -> None:
    source = photograph()
    with running_s3() as server:
        place = Place(server)
        with running_receiver(tmp_path, data=place.data) as receiver:
            server.stop()
            assert send(receiver, source) == [0xA700]
            assert receiver.rows(Photograph) == []
            server.start()
            assert send(receiver, source) == [0x0000]
            (row,) = receiver.rows(Photograph)
            assert place.paths() == [row.path]
            assert receiver.files("photograph") == []


def _become(monkeypatch: pytest.MonkeyPatch, credentials: dict[str, str]) -> None:
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)


def test_a_full_disk_under_the_copies_is_waited_for_like_a_bucket_that_is_away(
    bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(_settings(tmp_path, bucket))
    stored = store.write("photograph", "1.2.3", b"content")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as no_room:
        no_room.setattr("storage.file_cache.write_atomically", full)
        with pytest.raises(UnreachableError, match="no room"):
            store.absolute(stored.path)
    assert store.absolute(stored.path).read_bytes() == b"content"


def test_health_tells_of_a_bucket_that_is_away(
    tmp_path: Path, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.files_chore.INTERVAL_SECONDS", 0.5)
    with running_s3() as server:
        data = Data(folder=tmp_path, **{**Place(server).data, "files_timeout_seconds": 0.5})
        settings = Settings(node=NodeSettings(port=0), data=data, status=Status(port=0))
        node = Node(settings, scorer_factory=partial(SmallScorer, tmp_path / "log"))
        node.start()
        try:
            url = f"http://{LOOPBACK}:{node.status_port}/health"
            assert get(url).status_code == 200
            server.stop()
            wait_until(lambda: get(url).status_code == 503, 30, "503")
            reasons = get(url).json()["reasons"]
            assert reasons.keys() == {"files"}
            server.start()
            wait_until(lambda: get(url).status_code == 200, 30, "200")
        finally:
            node.stop()
