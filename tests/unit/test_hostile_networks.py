"""Network files that want to run something, or to exhaust the machine: refused, and nothing has run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inert_pickle import RefusedFileError, read_inert
from models.nvidia_stylegan2 import read_nvidia_stylegan2
from models.official_network import read_official_network
from tests.official import NVIDIA_FILE

MARKER = "ran-by-a-pickle"


class Calls:
    """Pickles as a call of `function`, as every hostile pickle does."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def hostile(folder: Path) -> dict[str, bytes]:
    """Pickles that leave a file `MARKER` in the folder when they are loaded as usual."""
    marker = str(folder / MARKER)
    quoted = marker.encode()
    shell = b"touch " + quoted
    values: dict[str, object] = {
        "os.system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, f"__import__('os').mkdir({marker!r})"),
        "exec": Calls(exec, f"import os; os.mkdir({marker!r})"),
        "subprocess": Calls(subprocess.call, ["touch", marker]),
        "mkdir": Calls(os.mkdir, marker),
        "in a dictionary": {"G": {}, "G_ema": Calls(os.system, f"touch {marker}")},
    }
    made = {f"{name}, protocol {n}": pickle.dumps(v, n) for name, v in values.items() for n in (2, 3, 4, 5)}
    made["protocol 0"] = pickle.dumps(values["os.system"], 0)
    made["OBJ"] = b"\x80\x02(cos\nsystem\nX" + struct.pack("<I", len(shell)) + shell + b"o."
    made["INST"] = b"(S'" + shell + b"'\nios\nsystem\n."
    return made


@pytest.mark.parametrize("name", sorted(hostile(Path("/nowhere"))))
def test_hostile_pickle_is_refused_and_runs_nothing(name: str, tmp_path: Path) -> None:
    content = hostile(tmp_path)[name]
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    with pytest.raises(RefusedFileError):
        read_official_network(path)
    assert not (tmp_path / MARKER).exists()
    pickle.loads(content)  # what the file would have done
    assert (tmp_path / MARKER).exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_pt_is_refused_and_runs_nothing(zipped: bool, tmp_path: Path) -> None:
    path, marker = tmp_path / "network.pt", tmp_path / MARKER
    content = {"g_ema": Calls(os.system, f"touch {marker}")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(RefusedFileError):
        read_official_network(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_source_code_in_the_file_is_never_run(tmp_path: Path) -> None:
    """The published files hold the source of their classes, which NVIDIA's own reader executes."""
    marker = tmp_path / MARKER
    source = f"import os; os.mkdir({str(marker)!r})".encode()
    content = NVIDIA_FILE.read_bytes()
    at = content.index(b"module_src")
    filled = content[:at] + content[at:].replace(b"\x8c\x00", b"\x8c" + bytes([len(source)]) + source, 1)
    assert source in filled
    plain, found = (read_nvidia_stylegan2(io.BytesIO(each)) for each in (content, filled))
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.items())
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04.",
        b"\x80\x04N.",
        b"\x80\x04]\x94h\x00a.",  # a list within itself
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"short.",  # claims an exabyte
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"short.",
        b"\x80\x02j\xff\xff\xff\x7f.",  # reads a memo that is not there
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02P1\n.",  # PERSID
        b"\x80\x02c__main__\n__dict__\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x0400000.",
        b"\x80\x04(((((((((",
        b"\x80\x04" + b"(" * 100_000 + b"t" * 100_000 + b".",
        b"\x80\x04}]Ns.",  # a list as a key
        b"\x80\x04}}b.",
        b"\x80\x02cbuiltins\nset\n]\x85R.",
    ],
)
def test_odd_pickles_are_refused(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RefusedFileError):
            read_nvidia_stylegan2(io.BytesIO(content))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_too_many_opcodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.inert_pickle._MOST_OPCODES", 1000)
    with pytest.raises(RefusedFileError, match="longer"):
        read_inert(io.BytesIO(b"\x80\x04" + b"N" * 2000 + b"."), {})


def test_plain_data_is_read_as_python_reads_it() -> None:
    value = {
        "a": [1, 2.5, -(2**40), "text", b"bytes", None, True, False],
        "b": ((1,), (1, 2), (1, 2, 3), (1,) * 9),
    }
    for protocol in (2, 3, 4, 5):
        if protocol == 2:
            value["a"] = [v for v in value["a"] if not isinstance(v, bytes)]
        content = pickle.dumps(value, protocol)
        assert read_inert(io.BytesIO(content), {}) == value


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_mutated_files_load_or_are_refused(data: st.DataObject) -> None:
    content = bytearray(NVIDIA_FILE.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # the pickle's own opcodes crowd at the beginning of each tensor and at the end
        place = data.draw(st.one_of(st.integers(0, 4000), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    try:
        tensors = read_nvidia_stylegan2(io.BytesIO(bytes(content[:cut])))
    except RefusedFileError as error:
        assert str(error)
    else:
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


def test_larger_or_empty_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.pkl"
    path.touch()
    with pytest.raises(RefusedFileError, match="empty"):
        read_official_network(path)
    with path.open("r+b") as file:
        file.truncate(3 << 30)  # no block of it is written
    with pytest.raises(RefusedFileError, match="larger"):
        read_official_network(path)
