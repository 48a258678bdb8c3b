"""Files in object storage, over the S3 protocol against moto's server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.core import NodeError, open_store
from dicom_node.settings import Data, Settings
from storage.file_store import FileStore
from storage.instances import DamagedFileError, InstanceStore
from storage.tables import Photograph
from tests.receiving import photograph, running_receiver, send
from tests.s3_server import BUCKET, S3Server, running_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")


def _settings(folder: Path, server: S3Server, prefix: str = "a/b") -> Settings:
    return Settings(
        data=Data(
            folder=folder,
            files_url=f"s3://{BUCKET}/{prefix}",
            files_endpoint=server.endpoint,
            files_region="us-east-1",
            files_timeout_seconds=2,
        )
    )


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> FileStore:
    if request.param == "folder":
        return InstanceStore(tmp_path)
    return open_store(_settings(tmp_path, s3, prefix=tmp_path.name))


def test_what_was_written_is_there_until_it_is_deleted(store: FileStore) -> None:
    first, again = (store.write("photograph", "1.2.3", b"content") for _ in range(2))
    assert first == again
    assert first.sha256 == hashlib.sha256(b"content").hexdigest()
    assert store.read(first.path) == store.absolute(first.path).read_bytes() == b"content"
    assert store.kinds() == ["photograph"]
    assert list(store.files("photograph")) == [first.path]
    store.delete(first.path)
    store.delete(first.path)
    assert not store.absolute(first.path).exists()
    with pytest.raises(FileNotFoundError):
        store.read(first.path)


def test_a_changed_object_is_noticed(tmp_path: Path, s3: S3Server) -> None:
    store = open_store(_settings(tmp_path, s3))
    stored = store.write("photograph", "1.2.3", b"content")
    s3.replace(f"a/b/{stored.path}", b"changed")
    for fetch in (store.read, store.absolute):
        with pytest.raises(DamagedFileError):
            fetch(stored.path)
    assert not list((tmp_path / "cache").rglob("*.dcm"))


def test_a_server_that_is_down_is_an_os_error_and_named_at_the_start(tmp_path: Path) -> None:
    with running_s3() as server:
        settings = _settings(tmp_path, server)
        store = open_store(settings)
        server.stop()
        with pytest.raises(OSError, match="object storage failed"):
            store.write("photograph", "1.2.3", b"content")
        with pytest.raises(NodeError, match=r"data\.files_endpoint"):
            open_store(settings)


def test_a_photograph_is_refused_while_the_server_is_down_and_taken_later(tmp_path: Path) -> None:
    source = photograph()
    with running_s3() as server:
        data = _settings(tmp_path, server).data.model_dump(mode="json") | {"minimum_free_megabytes": 0}
        with running_receiver(tmp_path, data=data) as receiver:
            server.stop()
            assert send(receiver, source) == [0xA700]
            assert receiver.rows(Photograph) == []
            server.start()
            assert send(receiver, source) == [0x0000]
            assert len(receiver.rows(Photograph)) == 1
            assert receiver.files("photograph") == []
