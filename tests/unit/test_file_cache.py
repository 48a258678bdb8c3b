"""Local copies: below their size, an hour at most, and never taken away from who opens them."""

from __future__ import annotations

import fcntl
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_node.core import open_store
from dicom_node.settings import Settings
from dicom_node.settings_sections import Data
from storage.atomic_file import PARTIAL_PREFIX
from storage.file_cache import FileCache
from storage.instances import InstanceStore

MINUTE = 60.0


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> FileCache:
    return FileCache(tmp_path / "cache", most_bytes=100, clock=clock)


def _path(number: int) -> str:
    return f"photograph/{number:02x}/{number:040x}-{0:024x}.dcm"


def _held(cache: FileCache) -> set[str]:
    return {str(place.relative_to(cache.folder)) for place in cache.folder.rglob("*.dcm")}


def test_a_copy_is_found_again_and_for_its_owner_only(cache: FileCache) -> None:
    assert cache.find(_path(1)) is None
    place = cache.keep(_path(1), b"content")
    assert cache.find(_path(1)) == place == cache.place(_path(1))
    assert place.read_bytes() == b"content"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    for folder in (cache.folder, place.parent, place.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_beyond_the_size_the_least_recently_used_go_first(cache: FileCache, clock: Clock) -> None:
    for number in (1, 2, 3):
        cache.keep(_path(number), bytes(50))
        clock.now += MINUTE
    cache.find(_path(1))
    clock.now += 20 * MINUTE
    cache.tidy()
    assert _held(cache) == {_path(1), _path(3)}
    cache.tidy()
    assert _held(cache) == {_path(1), _path(3)}


def test_what_was_used_within_a_quarter_of_an_hour_stays_whatever_the_size(
    cache: FileCache, clock: Clock
) -> None:
    for number in (1, 2, 3):
        cache.keep(_path(number), bytes(80))
    clock.now += 14 * MINUTE
    cache.find(_path(2))
    cache.tidy()
    assert _held(cache) == {_path(1), _path(2), _path(3)}
    clock.now += 2 * MINUTE
    cache.tidy()
    assert _held(cache) == {_path(2)}


def test_what_nobody_used_for_an_hour_goes_whatever_the_size(cache: FileCache, clock: Clock) -> None:
    cache.keep(_path(1), b"x")
    cache.keep(_path(2), b"x")
    clock.now += 50 * MINUTE
    cache.find(_path(2))
    cache.tidy()
    assert _held(cache) == {_path(1), _path(2)}
    clock.now += 11 * MINUTE
    cache.tidy()
    assert _held(cache) == {_path(2)}


def test_a_start_lets_go_of_what_is_over_and_of_killed_writers_leftovers(
    cache: FileCache, clock: Clock, tmp_path: Path
) -> None:
    place = cache.keep(_path(1), b"x")
    left, living = (place.with_name(f"{PARTIAL_PREFIX}{name}") for name in ("left", "living"))
    left.write_bytes(b"ha")
    clock.now += 61 * MINUTE
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        FileCache(tmp_path / "cache", most_bytes=100, clock=clock)
        assert (place.exists(), left.exists(), living.exists()) == (False, False, True)


def test_a_dropped_copy_is_gone_and_who_has_it_open_reads_on(cache: FileCache) -> None:
    with cache.keep(_path(1), b"content").open("rb") as file:
        cache.drop(_path(1))
        cache.drop(_path(1))
        assert cache.find(_path(1)) is None
        assert file.read() == b"content"


def test_copies_from_when_the_files_lay_in_a_bucket_go_once_they_lie_in_the_folder(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", most_bytes=100, clock=Clock())  # long ago
    cache.keep(_path(1), b"a photograph")
    store = open_store(Settings(data=Data(folder=tmp_path)))
    assert isinstance(store, InstanceStore)
    assert _held(cache) == set()
