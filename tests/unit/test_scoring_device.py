"""What the scoring process does when its GPU fails: real children, with faults injected into the scorer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.scorer_loading import ScorerUnusableError
from dicom_node.scoring_process import DeviceFailedError, ScoringProcess
from pipeline.computation import DeviceFault, FaultAnswer
from pipeline.result import Rejection, Scored
from tests.failing_device import FailingDevice


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def _scoring(
    folder: Path, counted: list[tuple[DeviceFault, FaultAnswer]], *, takes_cpu: bool = True, **device: object
) -> Iterator[tuple[ScoringProcess, _Clock]]:
    clock = _Clock()
    process = ScoringProcess(
        partial(FailingDevice, folder, **device),  # type: ignore[arg-type]
        timeout_seconds=30,
        prepare_logs=int,
        takes_cpu=takes_cpu,
        count_fault=lambda fault, then: counted.append((fault, then)),
        clock=clock,
    )
    try:
        with capture_logs():
            process.start()
            yield process, clock
    finally:
        process.close()


def _computed(result: Scored | Rejection) -> tuple[str, int, DeviceFault | None]:
    assert isinstance(result, Scored)
    assert result.score.computation is not None
    made = result.score.computation
    return made.device, made.batch, made.fault


PATHS = [Path(str(number)) for number in range(4)]


@pytest.mark.parametrize("fault", [DeviceFault.LOST, DeviceFault.OUT_OF_MEMORY])
def test_the_cpu_goes_on_after_a_fault_and_the_gpu_is_tried_again_later(
    tmp_path: Path, fault: DeviceFault
) -> None:
    counted: list[tuple[DeviceFault, FaultAnswer]] = []
    with _scoring(tmp_path, counted) as (process, clock):
        assert [_computed(one) for one in process.score_files(PATHS)] == [("gpu", 4, None)] * 4
        (tmp_path / "fault").write_text(fault.value)
        assert [_computed(one) for one in process.score_files(PATHS)] == [("cpu", 1, fault)] * 4
        assert process.most_at_once == 1
        clock.now = 599.0
        assert _computed(process.score_files(PATHS[:1])[0]) == ("cpu", 1, fault)
        (tmp_path / "fault").unlink()
        clock.now = 601.0
        assert _computed(process.score_files(PATHS[:1])[0]) == ("gpu", 1, None)
        assert process.most_at_once == 4
    assert counted == [(fault, "cpu")]


def test_a_gpu_that_is_gone_when_it_is_tried_again_leaves_the_work_to_the_cpu(tmp_path: Path) -> None:
    counted: list[tuple[DeviceFault, FaultAnswer]] = []
    with _scoring(tmp_path, counted) as (process, clock):
        (tmp_path / "fault").write_text("lost")
        process.score_files(PATHS[:1])
        (tmp_path / "no driver").touch()
        clock.now = 601.0
        assert _computed(process.score_files(PATHS[:1])[0]) == ("cpu", 1, DeviceFault.UNUSABLE)
    assert counted == [(DeviceFault.LOST, "cpu"), (DeviceFault.UNUSABLE, "cpu")]


def test_smaller_batches_are_counted_once(tmp_path: Path) -> None:
    counted: list[tuple[DeviceFault, FaultAnswer]] = []
    with _scoring(tmp_path, counted, memory=1) as (process, _):
        for _ in range(2):
            results = process.score_files(PATHS)
            assert [_computed(one) for one in results] == [("gpu", 1, DeviceFault.OUT_OF_MEMORY)] * 4
        assert process.most_at_once == 1
    assert counted == [(DeviceFault.OUT_OF_MEMORY, "smaller_batch")]


def test_without_a_driver_the_cpu_is_taken_from_the_start(tmp_path: Path) -> None:
    counted: list[tuple[DeviceFault, FaultAnswer]] = []
    (tmp_path / "no driver").touch()
    with _scoring(tmp_path, counted) as (process, _):
        assert _computed(process.score_files(PATHS[:1])[0]) == ("cpu", 1, DeviceFault.UNUSABLE)
    assert counted == [(DeviceFault.UNUSABLE, "cpu")]


def test_where_nothing_else_is_to_be_used_the_fault_is_the_answer(tmp_path: Path) -> None:
    counted: list[tuple[DeviceFault, FaultAnswer]] = []
    with _scoring(tmp_path, counted, takes_cpu=False) as (process, _):
        (tmp_path / "fault").write_text("lost")
        with pytest.raises(DeviceFailedError, match="lost"):
            process.score_files(PATHS)
        (tmp_path / "no driver").touch()
        with pytest.raises(DeviceFailedError, match="unusable"):
            process.score_files(PATHS)
    assert counted == [(DeviceFault.LOST, "handed_back"), (DeviceFault.UNUSABLE, "handed_back")]


def test_where_nothing_else_is_to_be_used_a_missing_driver_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "no driver").touch()
    with (
        pytest.raises(ScorerUnusableError, match=r"scoring\.device"),
        _scoring(tmp_path, [], takes_cpu=False),
    ):
        pass
