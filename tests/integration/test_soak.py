"""Load: several senders at once, thousands of photographs, an archive that commits itself to every result."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.figures import note
from tests.integration.running_node import NodeUnderTest, running, wait_until, write_photograph
from tests.peers import LOOPBACK, Modality, free_port, require, running_orthanc

_ROOT = "1.2.826.0.1.3680043.9.5"


@dataclass
class _Watch:
    """Looks at the node's processes now and then."""

    process: subprocess.Popen[bytes]
    node: NodeUnderTest
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)

    def look(self) -> None:
        family = [self.process.pid, *_children(self.process.pid)]
        self.memory.append(sum(_memory(pid) for pid in family))
        self.files.append(sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in family))
        metrics = self.node.metrics().splitlines()
        waiting = [
            line for line in metrics if line.startswith(("facenorm_workflows{", "facenorm_deliveries{"))
        ]
        self.depth.append(
            int(sum(float(line.split()[1]) for line in waiting if 'state="delivered"' not in line))
        )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def _value(node: NodeUnderTest, name: str) -> float:
    return next(float(line.split()[-1]) for line in node.metrics().splitlines() if line.startswith(name))


def _soak(tmp_path: Path, *, senders: int, studies: int, photographs: int) -> None:
    """Let each of `senders` send `studies` studies of `photographs` photographs."""
    (tmp_path / "node").mkdir()
    node = NodeUnderTest(
        folder=tmp_path / "node", destination_port=free_port(), quiet_seconds=5, storage_commitment=True
    )
    batches = []
    for sender in range(senders):
        folder = tmp_path / str(sender)
        folder.mkdir()
        for study in range(studies):
            uid = f"{_ROOT}.{sender}.{study}"
            for number in range(photographs):
                # Everybody has one encounter: each report refreshes those of the patient's later ones.
                patient = f"TEST-{sender}-{study}"
                write_photograph(
                    folder, f"{uid}.{number}", brightness=40 + number % 200, study=uid, patient=patient
                )
        batches.append(folder)
    total = senders * studies * photographs
    results = total + senders * studies
    with (
        running_orthanc(
            tmp_path / "orthanc",
            dicom_port=node.destination_port,
            modalities=[Modality("FACENORM", node.port)],
        ) as orthanc,
        running(node, seconds=0.005) as process,
    ):
        watch = _Watch(process, node)
        watch.look()
        began = time.monotonic()
        sending = [
            subprocess.Popen(
                [
                    require("storescu"), "-aet", "CAMERA", "-aec", "FACENORM", "+sd",
                    LOOPBACK, str(node.port), str(folder),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for folder in batches
        ]  # fmt: skip
        while any(sender.poll() is None for sender in sending):
            watch.look()
            time.sleep(1)
        received = time.monotonic() - began
        assert [sender.returncode for sender in sending] == [0] * senders
        assert _value(node, "facenorm_photographs_received_total") == total
        scored_meanwhile = _value(node, 'facenorm_scorings_total{status="scored"}')
        deadline = time.monotonic() + 60 + total
        # A study that comes slowly, on a busy machine, gets a successor report besides.
        scored = 'facenorm_scorings_total{status="scored"}'
        while (
            _value(node, scored) < total
            or _value(node, 'facenorm_deliveries{state="delivered"}') < results
            or watch.depth[-1]
        ):
            assert time.monotonic() < deadline
            watch.look()
            time.sleep(1)
        done = time.monotonic() - began
        time.sleep(2)
        watch.look()
        made = _value(node, 'facenorm_deliveries{state="delivered"}')
        assert results <= len(orthanc.instance_ids()) == made
        for name in ('facenorm_deliveries{state="dead"}', 'facenorm_workflows{state="error"}'):
            assert _value(node, name) == 0
        wait_until(lambda: "facenorm_chore_failures_total{" not in node.metrics(), 5, "no failed chore")
    mib = [size >> 20 for size in watch.memory]
    note(
        "soak",
        senders=senders,
        studies=senders * studies,
        photographs=total,
        received_seconds=round(received),
        received_a_second=round(total / received, 1),
        scored_meanwhile=int(scored_meanwhile),
        committed_seconds=round(done),
        committed_photographs_a_second=round(total / done, 1),
        memory_mib={"start": mib[0], "most": max(mib), "end": mib[-1]},
        open_files={"start": watch.files[0], "most": max(watch.files), "end": watch.files[-1]},
        waiting={"most": max(watch.depth), "end": watch.depth[-1]},
    )
    assert watch.files[-1] <= watch.files[0] + 30
    assert watch.memory[-1] < watch.memory[0] + 300_000_000
    assert watch.depth[-1] == 0


def test_a_little_load(tmp_path: Path) -> None:
    _soak(tmp_path, senders=2, studies=2, photographs=4)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_thousands_of_photographs_from_several_senders(tmp_path: Path) -> None:
    _soak(tmp_path, senders=4, studies=25, photographs=20)
