"""Read a pickle of nested dictionaries of numpy arrays, and refuse every other pickle.

A pickle is a program: a plain `pickle.loads` runs whatever it names. Here only the three names that
rebuild a numpy array are admitted, so a hostile file fails before anything of it runs.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct
from numpy.typing import NDArray

ArrayTree = Mapping[str, "NDArray[np.generic] | ArrayTree"]

# numpy 1 wrote numpy.core, numpy 2 writes numpy._core; importing the former warns, so map it by hand.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class RefusedPickleError(ValueError):
    """The pickle is damaged, or holds something besides dictionaries of plain numpy arrays."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  (the base class says so)
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise RefusedPickleError(
                f"the pickle names {module}.{name}; only numpy arrays are read"
            ) from None


def read_array_tree(data: bytes) -> ArrayTree:
    """Return the nested dictionaries of arrays in `data`.

    Raises RefusedPickleError for anything else, before any code that the pickle names is run.
    """
    try:
        tree = _ArrayUnpickler(io.BytesIO(data)).load()
    except RefusedPickleError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise RefusedPickleError(f"the pickle is damaged ({type(error).__name__})") from error
    _refuse_other_values(tree)
    return tree  # type: ignore[no-any-return]


def _refuse_other_values(tree: object) -> None:
    if not isinstance(tree, dict):
        raise RefusedPickleError(f"the pickle holds a {type(tree).__name__} where a dictionary was expected")
    for key, value in tree.items():
        if not isinstance(key, str):
            raise RefusedPickleError("a key of the pickle is not text")
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise RefusedPickleError(f"array {key!r} holds Python objects, not numbers")
        else:
            _refuse_other_values(value)
