"""What NVIDIA's network pickles hold, as plain state: dictionaries, numbers and numpy arrays.

The files of the stylegan2-ada-pytorch and stylegan3 releases are dictionaries of persistent objects. Each is
a call of torch_utils.persistence._reconstruct_persistent_obj with the source code of its class, which the
releases' own reader executes. Here the source is dropped and the state kept. Tensors are built as torch
writes them into a plain pickle: a view (`torch._utils._rebuild_tensor_v2`) of a storage, whose bytes are a
file of their own in torch's legacy format (`torch.storage._load_from_bytes`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.inert_pickle import Build, Named, RefusedFileError, Stream, read_inert

Array = NDArray[np.generic]

_LEGACY_MAGIC, _LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001  # torch/serialization.py
_STORAGES: Mapping[str, Build | None] = {
    f"torch.{name}Storage": None
    for name in ("Float", "Half", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
}
_STORED = {
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.DoubleStorage": "<f8",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "|b1",
}
_NUMBERS = ("f8", "f4", "i8", "i4", "b1")


@dataclass(frozen=True, slots=True)
class PersistentObject:
    """An object of one of NVIDIA's persistent classes: the class's name and the attributes."""

    class_name: str
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _NumberType:
    """What stands for numpy.dtype."""

    code: str


@dataclass(frozen=True, slots=True)
class _StorageHead:
    """What a legacy file says of its storage before the bytes come."""

    code: str
    key: str
    count: int


def read_network_pickle(stream: Stream) -> Mapping[str, Any]:
    """Return the dictionary of a network pickle, with `PersistentObject` and numpy arrays (read-only) in it.

    Raises RefusedFileError for anything else, before anything of it runs.
    """
    tree = read_inert(stream, _ADMITTED, settle=_settle)
    if type(tree) is not dict:
        raise RefusedFileError("the pickle is no dictionary of networks")
    return tree


def _persistent_object(meta: object) -> PersistentObject:
    if type(meta) is not dict or meta.get("type") != "class":
        raise RefusedFileError("a persistent object is no class")
    name, state = meta.get("class_name"), meta.get("state")
    if type(name) is not str or type(state) is not dict:
        raise RefusedFileError("a persistent object lacks its class's name or its state")
    return PersistentObject(name, state)


def _dictionary(*items: object) -> dict[object, object]:
    if items:
        raise RefusedFileError("a dictionary is built in an unusual way")
    return {}


def _set(items: object = ()) -> set[str | int]:
    if type(items) not in (list, tuple) or not all(type(item) in (str, int) for item in items):  # type: ignore[attr-defined]
        raise RefusedFileError("a set is built in an unusual way")
    return set(items)  # type: ignore[call-overload,no-any-return]


def _number_type(code: object, *_: object) -> _NumberType:
    if code not in _NUMBERS:
        raise RefusedFileError("a number is of a type that networks do not hold")
    return _NumberType(str(code))


def _scalar(kind: object, content: object) -> float | int | bool:
    if type(kind) is not _NumberType or type(content) is not bytes:
        raise RefusedFileError("a number is built in an unusual way")
    value: float | int | bool = np.frombuffer(content, "<" + kind.code, 1)[0].item()
    return value


def _settle(value: object, state: object) -> None:
    """Admit numpy's own state of a plain little-endian type, and the empty state of a dictionary."""
    little = type(value) is _NumberType and type(state) is tuple and len(state) > 1 and state[1] in ("<", "|")
    if not little and not (type(value) is dict and type(state) is dict and not state):
        raise RefusedFileError("the pickle gives a state to what has none")


def _parameter(data: object, *_: object) -> object:
    return data


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Array:
    """Return the view, checked to lie inside its storage and to be no larger than that."""
    if not (isinstance(storage, np.ndarray) and type(size) is tuple and type(stride) is tuple):
        raise RefusedFileError("a tensor is built in an unusual way")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise RefusedFileError("a tensor has an impossible shape")
    begin: int = offset  # type: ignore[assignment]
    count = math.prod(size)
    last = begin + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else begin
    if count > storage.size or begin > storage.size or (count and last >= storage.size):
        raise RefusedFileError("a tensor is larger than what is stored for it")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[begin:], size, steps, writeable=False)


def _storage(content: object) -> Array:
    """Read a storage in torch's legacy format: five pickles, the count as 8 bytes, then the numbers."""
    if type(content) is not bytes:
        raise RefusedFileError("a storage is built in an unusual way")
    stream = io.BytesIO(content)
    if read_inert(stream, {}) != _LEGACY_MAGIC or read_inert(stream, {}) != _LEGACY_VERSION:
        raise RefusedFileError("a storage is not in torch's legacy format")
    system = read_inert(stream, {})
    if type(system) is not dict or system.get("little_endian") is not True:
        raise RefusedFileError("a storage was not written on a little-endian machine")
    head = read_inert(stream, _STORAGES, persistent=_storage_head)
    keys = read_inert(stream, {})
    if type(head) is not _StorageHead or type(keys) is not list or keys[:1] != [head.key] or len(keys) > 1:
        raise RefusedFileError("a storage does not hold exactly one block of numbers")
    if int.from_bytes(stream.read(8), "little") != head.count:
        raise RefusedFileError("a storage contradicts itself about its size")
    if len(content) - stream.tell() < head.count * np.dtype(head.code).itemsize:
        raise RefusedFileError("a storage says that it is larger than it is")
    return np.frombuffer(content, head.code, head.count, stream.tell())


def _storage_head(identifier: object) -> _StorageHead:
    if type(identifier) is not tuple or len(identifier) not in (5, 6):
        raise RefusedFileError("a storage is named in an unusual way")
    word, kind, key, _, count, *view = identifier
    usual = word == "storage" and type(kind) is Named and type(key) is str and type(count) is int
    if not usual or count < 0 or view not in ([], [None]):
        raise RefusedFileError("a storage is named in an unusual way")
    return _StorageHead(_STORED[kind.name], key, count)


_ADMITTED: Mapping[str, Build | None] = {
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.storage._load_from_bytes": _storage,
    "collections.OrderedDict": _dictionary,
    "dnnlib.util.EasyDict": _dictionary,
    "builtins.set": _set,
    # numpy 1 wrote numpy.core, numpy 2 writes numpy._core.
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": _number_type,
}
