from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.instances import InstanceStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> InstanceStore:
    return InstanceStore(tmp_path_factory.mktemp("outer") / "data")


hostile_uids = st.one_of(
    st.text(max_size=200),
    st.sampled_from(["../../etc/passwd", "/etc/passwd", "..", "", "1.2/../../x", "1.2\0.3", "a" * 5000]),
)


@settings(deadline=None)  # a loaded disk is slow, not wrong
@given(uid=hostile_uids, data=st.binary(max_size=300))
def test_no_uid_leads_a_file_out_of_its_folder(store: InstanceStore, uid: str, data: bytes) -> None:
    stored = store.write("photograph", uid, data)
    place = store.absolute(stored.path)
    assert place.is_relative_to(store.folder / "photograph")
    assert len(Path(stored.path).parts) == 3
    assert store.read(stored.path) == data
    assert (stored.sha256, stored.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert {path.name for path in store.folder.parent.iterdir()} == {"data"}


@settings(deadline=None)  # a loaded disk is slow, not wrong
@given(first=st.text(max_size=70), second=st.text(max_size=70), data=st.binary(min_size=1, max_size=50))
def test_another_uid_or_content_is_another_file(
    store: InstanceStore, first: str, second: str, data: bytes
) -> None:
    paths = {
        store.write("photograph", uid, content).path
        for uid in (first, second)
        for content in (data, data + b"x")
    }
    assert len(paths) == 2 * len({first, second})


@settings(deadline=None)  # a loaded disk is slow, not wrong
@given(path=st.text(max_size=80))
def test_a_path_is_inside_the_folder_or_refused(store: InstanceStore, path: str) -> None:
    try:
        assert store.absolute(path).is_relative_to(store.folder.resolve())
    except (ValueError, OSError):
        return


@pytest.mark.parametrize("path", ["/etc/passwd", "../data2/x", "photograph/../../x", "", ".", "a\0b"])
def test_escaping_paths_are_refused(store: InstanceStore, path: str) -> None:
    with pytest.raises(ValueError, match="data folder"):
        store.absolute(path)


def test_a_link_out_of_the_folder_is_refused(store: InstanceStore, tmp_path: Path) -> None:
    (store.folder / "way_out").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="inside the data folder"):
        store.read("way_out/file")


@pytest.mark.parametrize("kind", ["../x", "", "Photograph", "a/b", "a\n"])
def test_a_kind_is_a_plain_word(store: InstanceStore, kind: str) -> None:
    with pytest.raises(ValueError, match="lower-case word"):
        store.write(kind, "1.2", b"")


def test_files_are_for_their_owner_only(store: InstanceStore) -> None:
    place = store.absolute(store.write("photograph", "1.2.3", b"x").path)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    for folder in (store.folder, place.parent, place.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_killed_writers_leftover_goes_and_a_living_writers_file_stays(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path / "data")
    stored = store.write("photograph", "1.2.3", b"whole")
    shelf = store.absolute(stored.path).parent
    left, living = shelf / ".partial-left", shelf / ".partial-living"
    left.write_bytes(b"ha")
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        InstanceStore(tmp_path / "data")
        assert not left.exists()
        assert living.exists()
    assert store.read(stored.path) == b"whole"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = InstanceStore(tmp_path / "data")

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        store.write("photograph", "1.2.3", b"x")
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_file_and_folder_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = InstanceStore(tmp_path / "data")
    store.write("photograph", "1.2.3", b"first")
    synced: list[tuple[bool, int]] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        finished = len(list(store.folder.rglob("*.dcm")))
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), finished))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    store.write("photograph", "1.2.3", b"second")
    assert synced == [(False, 1), (True, 2)]


def test_deleting_twice_is_no_error(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path / "data")
    stored = store.write("photograph", "1.2.3", b"x")
    store.delete(stored.path)
    store.delete(stored.path)
    assert not store.absolute(stored.path).exists()
