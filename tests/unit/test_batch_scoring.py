"""Photographs scored together: in order, each as if it were alone, whoever is rejected beside it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.batch_scoring import BatchScorer, batch_size, build_batch_scorer
from pipeline.computation import Computation, DeviceFault, DeviceFaultError
from pipeline.locator_pool import LocatorPool
from pipeline.measurement import FaceMeasurer
from pipeline.measuring import Measuring
from pipeline.result import Rejection, RejectionReason, Scored
from pipeline.scoring import PhotographScorer
from tests.faces import generated_face
from tests.real_weights import face_finder, real_metric
from tests.tiny import TINY_GENERATOR, tiny_generator
from tests.unit.test_scoring import regressor

pytestmark = pytest.mark.real_weights
CPU = "cpu"


def scorer(profile: str = "newton") -> PhotographScorer:
    return PhotographScorer(Measuring(tiny_generator(), real_metric(), face_finder(), profile), regressor())


def _scored(result: Scored | Rejection) -> Scored:
    assert isinstance(result, Scored)
    return result


def test_each_photograph_gets_its_own_result_in_order() -> None:
    profile = "newton"
    faces = [generated_face(seed) for seed in (3, 5)]
    nobody = np.zeros((400, 300, 3), np.uint8)
    results = BatchScorer(scorer(profile), most_at_once=4).score([faces[0], nobody, faces[1]])
    assert isinstance(results[1], Rejection)
    assert (results[1].reason, results[1].rows) == (RejectionReason.NO_FACE, 400)
    features = []
    for face, result in zip(faces, (results[0], results[2]), strict=True):
        alone, together = _scored(scorer(profile).score(face)), _scored(result)
        assert together.score.outline == alone.score.outline
        assert together.score.provenance == alone.score.provenance
        # On 64 px every window is the whole picture, so only rounding differs (measured: 3e-7).
        assert together.score.features.d_xperc == pytest.approx(alone.score.features.d_xperc, rel=1e-4)
        assert {"face", "align", "normalize", "features"} <= together.score.seconds.keys()
        features.append(together.score.features.as_dict())
    assert features[0] != features[1]


def test_nobody_to_score() -> None:
    together = BatchScorer(scorer(), most_at_once=4)
    assert together.score([]) == []
    (result,) = together.score([np.zeros((300, 300, 3), np.uint8)])
    assert isinstance(result, Rejection)


def test_what_comes_out_for_a_face_does_not_depend_on_who_shares_its_batch_or_on_its_place() -> None:
    together = BatchScorer(scorer(), most_at_once=4)
    first, *others = (generated_face(seed) for seed in (3, 5, 7, 9))
    in_company = [
        _scored(together.score([first, *others])[0]),
        _scored(together.score([others[2], others[1], first])[2]),  # with the last one filling up
    ]
    assert {one.score.computation for one in in_company} == {Computation(CPU, 4)}
    expected = in_company[0].score
    for one in in_company[1:]:
        assert one.score.features == expected.features
        assert one.score.local_features == expected.local_features
        assert one.score.value == expected.value
        np.testing.assert_array_equal(one.images.normalized, in_company[0].images.normalized)


def test_batches_are_of_few_sizes() -> None:
    assert [batch_size(n, 16) for n in (1, 2, 3, 4, 5, 8, 9, 16, 40)] == [1, 1, 4, 4, 4, 4, 16, 16, 16]
    assert [batch_size(n, 2) for n in (1, 2, 3)] == [1, 2, 2]
    assert batch_size(30, 1) == 1


def test_files_are_read_and_their_faces_found_by_processes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in ("first", "unreadable", "second")]
    for path, seed in ((paths[0], 3), (paths[2], 5)):
        cv2.imwrite(str(path), generated_face(seed)[:, :, ::-1])
    paths[1].write_bytes(b"no picture")
    with LocatorPool(1, 200) as locators:
        by_processes = BatchScorer(scorer(), most_at_once=2, locators=locators).score_files(paths)
    here = BatchScorer(scorer(), most_at_once=2).score_files(paths)
    assert isinstance(by_processes[1], Rejection)
    assert by_processes[1].reason is RejectionReason.UNREADABLE_PIXELS
    for n in (0, 2):
        one = _scored(by_processes[n])
        assert one.score.value == _scored(here[n]).score.value
        assert one.score.computation == Computation(CPU, 2)
        assert {"decode", "face", "align", "quality", "normalize", "features"} <= one.score.seconds.keys()


class _SmallMemory(FaceMeasurer):
    """A device with memory for two faces, or for however many are set."""

    memory = 2
    error: RuntimeError = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    held_when_let_go: list[bool]

    def measure_batch(self, faces, watch, progress=None):
        pictures = torch.zeros(len(faces))
        self.pictures = weakref.ref(pictures)
        if len(faces) > self.memory:
            raise type(self.error)(str(self.error))  # one that is kept would keep its frames
        return super().measure_batch(faces, watch, progress)

    def let_go_of_memory(self):
        gc.collect()
        self.held_when_let_go.append(self.pictures() is not None)
        super().let_go_of_memory()


def _with_memory_for(faces: int, error: RuntimeError | None = None) -> PhotographScorer:
    made = scorer()
    made.measurer.__class__ = _SmallMemory
    made.measurer.memory = faces  # type: ignore[attr-defined]
    made.measurer.held_when_let_go = []  # type: ignore[attr-defined]
    if error:
        made.measurer.error = error  # type: ignore[attr-defined]
    return made


def test_out_of_memory_makes_batches_smaller_and_every_score_says_so() -> None:
    faces = [generated_face(seed) for seed in (3, 5, 7)]
    inner = _with_memory_for(2)
    together = BatchScorer(inner, most_at_once=4)
    results = [_scored(one) for one in together.score(faces)]
    assert together.most_at_once == 1
    # Memory is only freed once nothing of the batch is held any more, by the error neither.
    assert inner.measurer.held_when_let_go == [False]  # type: ignore[attr-defined]
    fault = DeviceFault.OUT_OF_MEMORY
    assert [one.score.computation for one in results] == [Computation(CPU, 1, fault)] * 3
    alone = [_scored(scorer().score(face)).score.value for face in faces]
    assert [one.score.value for one in results] == alone


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), DeviceFault.OUT_OF_MEMORY),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), DeviceFault.LOST),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), DeviceFault.LOST),
        (RuntimeError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR"), DeviceFault.LOST),
        (torch.AcceleratorError("CUDA error: out of memory"), DeviceFault.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), DeviceFault.OUT_OF_MEMORY),
        (RuntimeError("GET was unable to find an engine to execute this"), DeviceFault.OUT_OF_MEMORY),
    ],
)
def test_a_device_that_cannot_do_a_single_photograph_is_at_fault(
    error: RuntimeError, fault: DeviceFault, tmp_path: Path
) -> None:
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), generated_face(3)[:, :, ::-1])
    for scoring in (lambda s: s.score([generated_face(3)]), lambda s: s.score_files([path])):
        with pytest.raises(DeviceFaultError) as raised:
            scoring(BatchScorer(_with_memory_for(0, error), most_at_once=4))
        assert raised.value.fault is fault


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        BatchScorer(_with_memory_for(0, RuntimeError("shape")), most_at_once=4).score([generated_face(3)])


def test_after_a_fault_the_cpu_is_taken_whatever_the_settings_say() -> None:
    made = build_batch_scorer(
        str(TINY_GENERATOR), "newton", "cuda:7", most_at_once=16, after=DeviceFault.LOST
    )
    assert (made.device, made.most_at_once) == (CPU, 1)
    (result,) = made.score([generated_face(3)])
    assert _scored(result).score.computation == Computation(CPU, 1, DeviceFault.LOST)
