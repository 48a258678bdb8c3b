import numpy as np
import pytest

from pipeline.locating import AlignedFace
from pipeline.locator_pool import LocatorPool
from pipeline.result import Rejection, RejectionReason
from tests.faces import generated_face


@pytest.mark.real_weights
def test_pool_finds_what_one_process_finds_in_order() -> None:
    blank = np.full((400, 400, 3), 128, np.uint8)
    with LocatorPool(1, 200) as pool:
        (nothing, _), (face, seconds) = pool.locate([blank, generated_face(3)])
    assert isinstance(nothing, Rejection)
    assert nothing.reason is RejectionReason.NO_FACE
    assert isinstance(face, AlignedFace)
    assert set(seconds) == {"face", "align"}
