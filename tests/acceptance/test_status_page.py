"""The status page in a real browser, after a photograph has been scored."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from tests.integration.running_node import (
    PATIENT_ID,
    STUDY,
    TOKEN,
    NodeUnderTest,
    running,
    wait_until,
    write_photograph,
)
from tests.peers import LOOPBACK, free_port, require


def browser(*arguments: str) -> str:
    """Return what a headless browser prints."""
    command = (require("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--timeout=20000")
    finished = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=90, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return finished.stdout


def test_it_shows_the_study_and_names_the_patient_only_when_asked(tmp_path: Path) -> None:
    require("chromium")
    node = NodeUnderTest(folder=tmp_path, destination_port=free_port())
    page = f"http://facenorm:{TOKEN}@{LOOPBACK}:{node.status_port}/"
    picture = tmp_path / "page.png"
    with running(node):
        node.send(write_photograph(tmp_path, f"{STUDY}.1"))
        scored = 'facenorm_scorings_total{status="scored"} 1.0'
        wait_until(lambda: scored in node.metrics(), 60, "the score")
        plain = browser("--dump-dom", page)
        named = browser("--dump-dom", f"{page}?patients=yes")
        browser("--window-size=1000,900", f"--screenshot={picture}", page)
    assert "facenorm is ready" in plain
    assert "small-test-generator" in plain
    for text in (plain, named):
        assert f"<td>{STUDY}</td>" in text
    assert PATIENT_ID not in plain
    assert PATIENT_ID in named
    assert np.asarray(Image.open(picture)).std() > 5
