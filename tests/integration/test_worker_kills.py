"""Workers killed at random, PostgreSQL restarted under them: nothing is lost, nothing is done twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import create_engine, text

from tests.figures import note
from tests.integration.running_node import STUDY, NodeUnderTest, running, write_photograph
from tests.integration.running_workers import PROMPT, RunningWorker, start_worker, working
from tests.integration.test_kills import _Camera, _everything_once, settle
from tests.peers import Modality, free_port, running_orthanc
from tests.postgresql import PostgresPeer, running_postgresql
from tests.small_scorer import executions

_STUDIES = 4
_PATIENTS = 2


def _scored(url: str) -> set[str]:
    """Return the photographs whose scores are committed."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    query = "SELECT sop_instance_uid FROM photograph JOIN scoring ON scoring.photograph_pk = photograph.id"
    with engine.connect() as connection:
        found = {row[0] for row in connection.execute(text(query))}
    engine.dispose()
    return found


def _photographs(folder: Path, number: int) -> list[Path]:
    return [
        write_photograph(
            folder,
            f"{STUDY}.{n % _STUDIES}.{n}",
            brightness=60 + n % 180,
            study=f"{STUDY}.{n % _STUDIES}",
            patient=f"TEST-{n % _STUDIES % _PATIENTS}",
        )
        for n in range(number)
    ]


def _kill_one(workers: list[RunningWorker], node: NodeUnderTest, random: Random, seconds: float) -> None:
    """Kill a worker, ready or not, and start another in its place."""
    place = random.randrange(len(workers))
    workers[place].kill()
    workers[place] = start_worker(node, seconds=seconds)


def _torment(tmp_path: Path, *, kills: int, restarts: int, photographs: int, seed: int, number: int) -> None:
    random, seconds = Random(seed), 0.3
    (tmp_path / "node").mkdir()
    with running_postgresql() as postgresql:
        node = NodeUnderTest(
            folder=tmp_path / "node",
            destination_port=free_port(),
            storage_commitment=True,
            delivery="commitment_timeout_seconds = 5",
            database_url=postgresql.database(),
            scores=False,
            further=PROMPT,
        )
        camera = _Camera(node, random, _photographs(node.folder, photographs))
        with (
            running_orthanc(
                tmp_path / "orthanc",
                dicom_port=node.destination_port,
                modalities=[Modality("FACENORM", node.port)],
            ) as orthanc,
            running(node),
        ):
            with working(node, number, seconds=seconds) as workers, camera.sending():
                scored = _under_fire(node, postgresql, workers, random, kills, restarts, seconds)
                settle(node, camera, photographs, 600)
            _everything_once(node, orthanc, camera.acknowledged)
        begun = Counter(executions(node.scorer_log, "begin"))
        assert {uid: begun[uid] for uid in scored} == scored
        # What a kill left between file and row goes, and everything else agrees.
        repaired = node.facenorm("check", "--repair")
        assert repaired.returncode == 0, repaired.stdout + repaired.stderr
        assert "row without its file" not in repaired.stdout
    note(
        "worker kills",
        kills=kills,
        restarts_of_postgresql=restarts,
        seed=seed,
        workers=number,
        photographs=photographs,
        scored_under_fire=len(scored),
        scorings_cut_off_and_run_again=begun.total() - photographs,
        handed_back=node.output.count("handed back"),
        results_removed_by_check=repaired.stdout.count("removed:"),
    )


def _under_fire(
    node: NodeUnderTest,
    postgresql: PostgresPeer,
    workers: list[RunningWorker],
    random: Random,
    kills: int,
    restarts: int,
    seconds: float,
) -> dict[str, int]:
    """Kill workers and restart PostgreSQL; return how often what was scored by then had been begun."""
    events = ["kill"] * (kills - 1) + ["restart"] * restarts
    random.shuffle(events)
    scored: dict[str, int] = {}
    for event in ["kill", *events]:
        time.sleep(random.uniform(0.3, 2.0))
        if event == "kill":
            _kill_one(workers, node, random, seconds)
        else:
            postgresql.stop()
            time.sleep(random.uniform(0, 3))
            postgresql.start()
        committed = _scored(node.database_url)
        begun = Counter(executions(node.scorer_log, "begin"))
        scored = {uid: begun[uid] for uid in committed} | scored
    return scored


def test_a_few_killed_workers_lose_and_double_nothing(tmp_path: Path) -> None:
    _torment(tmp_path, kills=2, restarts=1, photographs=8, seed=3, number=2)


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_sixty_killed_workers_lose_and_double_nothing(tmp_path: Path) -> None:
    _torment(tmp_path, kills=60, restarts=5, photographs=80, seed=60, number=3)
