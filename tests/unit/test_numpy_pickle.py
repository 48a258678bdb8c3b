import pickle
from pathlib import Path

import numpy as np
import pytest

from models.numpy_pickle import RefusedPickleError, read_array_tree


def test_reads_nested_arrays_of_either_numpy() -> None:
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = pickle.dumps({"scope": {"kernel": kernel}}, protocol=3)
    assert b"numpy._core.multiarray" in data
    for pickled in (data, data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")):
        tree = read_array_tree(pickled)
        np.testing.assert_array_equal(tree["scope"]["kernel"], kernel)  # type: ignore[index,call-overload]


class _Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_refuses_a_hostile_pickle_before_it_runs(tmp_path: Path, protocol: int) -> None:
    hostile = pickle.dumps({"kernel": _Touches(tmp_path / "ran")}, protocol=protocol)
    with pytest.raises(RefusedPickleError, match="only numpy arrays"):
        read_array_tree(hostile)
    assert not (tmp_path / "ran").exists()
    pickle.loads(hostile)["kernel"].close()
    assert (tmp_path / "ran").exists(), "the pickle was not hostile, so the test proved nothing"


def test_refuses_other_contents() -> None:
    for value in ([1], {"a": 1}, {1: np.zeros(2)}, {"a": np.array([{}], dtype=object)}):
        with pytest.raises(RefusedPickleError):
            read_array_tree(pickle.dumps(value, protocol=3))


def test_refuses_a_truncated_pickle() -> None:
    data = pickle.dumps({"a": np.zeros(4)}, protocol=3)
    for size in range(len(data)):
        with pytest.raises(RefusedPickleError):
            read_array_tree(data[:size])
