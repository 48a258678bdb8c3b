from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_node.kept_pictures import KIND, read_panels
from storage.instances import InstanceStore


def _pictures(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (200, 600, 3), np.uint8)
    with BytesIO() as content:
        Image.fromarray(noise).save(content, "PNG")
        return content.getvalue()


_WHOLE = _pictures(0)
_SECOND_PART = _WHOLE.index(b"IDAT", _WHOLE.index(b"IDAT") + 4)


@pytest.mark.parametrize(
    "content",
    [_WHOLE[: _SECOND_PART - 2048] + bytes(4096) + _WHOLE[_SECOND_PART + 2048 :], _pictures(1)],
    ids=["damaged", "another's"],
)
def test_pictures_that_are_not_what_was_kept_are_done_without(tmp_path: Path, content: bytes) -> None:
    store = InstanceStore(tmp_path)
    path = store.write(KIND, "1.2.3", _WHOLE).path
    assert read_panels(store, path) is not None
    store.absolute(path).write_bytes(content)
    assert read_panels(store, path) is None
