"""OHIF as a peer: the viewer and the browser driver come from npm, into a cache folder; Chromium from Debian.

What is missing skips the test and is named; with FACENORM_REQUIRE_PEERS=1 it fails instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import OrthancPeer, require

VIEWER = ("@ohif/app", "3.13.2")
DRIVER = ("playwright-core", "1.65.1")
SCRIPT = Path(__file__).parent / "acceptance" / "ohif" / "view.mjs"
_FETCH_SECONDS = 300
_VIEW_SECONDS = 150


@dataclass(frozen=True, slots=True)
class Seen:
    """What was on the screen.

    series: the text of every thumbnail. annotation: the texts drawn on the photograph. panes: how many of the
    2x2 layout showed a picture. errors: what the page threw.
    """

    series: list[str]
    annotation: str
    panes: int
    errors: list[str]


def view_study(
    orthanc: OrthancPeer, *, study: str, report: str, count: int, beside: Mapping[int, str], folder: Path
) -> Seen:
    """Open a study's report in OHIF, lay other series beside it, and keep `report.png` and `study.png`.

    report: its Series Instance UID. count: of series in the study. beside: pane (1 to 3) -> description.
    """
    chromium, node = require("chromium"), require("node")
    driver, viewer = fetched(*DRIVER), fetched(*VIEWER)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "playwright": str(driver / "index.mjs"),
        "viewer": str(viewer / "dist"),
        "orthanc": orthanc.url,
        "chromium": chromium,
        "study": study,
        "report": report,
        "count": count,
        "beside": beside,
        "folder": str(folder),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        finished = subprocess.run(
            [node, str(SCRIPT), file.name], capture_output=True, text=True, timeout=_VIEW_SECONDS, check=False
        )
    assert finished.returncode == 0, finished.stderr
    return Seen(**json.loads(finished.stdout))


def fetched(name: str, version: str) -> Path:
    """Return the folder of an npm package, which is fetched once and needs none of its dependencies."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facenorm-test-peers"
    folder = cache / f"{name.replace('/', '-').removeprefix('@')}-{version}"
    if folder.is_dir():
        return folder
    npm = require("npm")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        # npm checks the archive against the digest that the registry states.
        command = [npm, "pack", f"{name}@{version}", "--silent", "--pack-destination", temporary]
        try:
            subprocess.run(command, capture_output=True, timeout=_FETCH_SECONDS, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            _missing(f"the npm package {name} {version} cannot be fetched")
        (archive,) = Path(temporary).glob("*.tgz")
        with tarfile.open(archive) as content:
            content.extractall(temporary, filter="data")
        # Another run may have been faster.
        if not folder.is_dir():
            shutil.move(Path(temporary) / "package", folder)
    return folder


def _missing(message: str) -> None:
    if os.environ.get("FACENORM_REQUIRE_PEERS") == "1":
        pytest.fail(message)
    pytest.skip(message)
