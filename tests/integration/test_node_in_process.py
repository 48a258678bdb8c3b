"""The node as the demo and other tests use it: in this process, one after the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from dicom_node.core import NodeError
from dicom_node.node import Node
from dicom_node.scorer_loading import ScorerUnusableError, load_scorer
from dicom_node.settings import Settings
from dicom_node.settings_sections import Data, Scoring, Status
from dicom_node.settings_sections import Node as NodeSettings
from pipeline.quality_thresholds import QualityThresholds
from tests.peers import LOOPBACK, run_tool
from tests.plain_http import get
from tests.small_scorer import SmallScorer
from tests.tiny import TINY_GENERATOR
from tests.told_scorer import ToldScorer


def _settings(folder: Path, database_url: str = "") -> Settings:
    data = Data(folder=folder, database_url=database_url)
    return Settings(node=NodeSettings(port=0), data=data, status=Status(port=0))


def test_nodes_start_and_stop_one_after_the_other(tmp_path: Path, database_url: str) -> None:
    for _ in range(2):
        node = Node(_settings(tmp_path, database_url), scorer_factory=partial(SmallScorer, tmp_path / "log"))
        node.start()
        health = get(f"http://{LOOPBACK}:{node.status_port}/health")
        refused = run_tool("echoscu", "-aec", "FACENORM", LOOPBACK, str(node.port), check=False)
        assert node.stop()
        assert (health.status_code, health.json()["reasons"]) == (200, {})
        assert refused.returncode != 0  # nobody may call where no senders are configured


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        (Scoring(device="abacus"), r"scoring\.device"),
        (Scoring(generator="nobody"), r"scoring\.generator"),
        (Scoring(generator=str(TINY_GENERATOR), regressor="absent.json"), r"scoring\.regressor"),
    ],
)
def test_settings_that_no_scorer_can_be_made_of_are_named(scoring: Scoring, message: str) -> None:
    with pytest.raises(ScorerUnusableError, match=message):
        load_scorer(scoring, QualityThresholds())


def test_a_scorer_that_cannot_be_made_leaves_nothing_running(tmp_path: Path) -> None:
    fail = partial(ToldScorer, tmp_path / "born", "the weights are missing")
    with pytest.raises(NodeError, match="the weights are missing"):
        Node(_settings(tmp_path), scorer_factory=fail).start()
    # The folder's lock is free again.
    node = Node(_settings(tmp_path), scorer_factory=partial(SmallScorer, tmp_path / "log"))
    node.start()
    with pytest.raises(NodeError, match="another node"):
        Node(_settings(tmp_path), scorer_factory=fail).start()
    assert node.stop()
