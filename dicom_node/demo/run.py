"""The demo from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from dicom_node.demo.archive import Archive, ArchiveKind, running_archive
from dicom_node.demo.arrivals import Arrival, arrivals
from dicom_node.demo.node_process import CAMERA_AE_TITLE, NodeProcess, running_node
from dicom_node.demo.photographs import Encounter, Photograph, write_photograph
from dicom_node.demo.picture import draw_picture, save_picture
from dicom_node.demo.problem import DemoError
from dicom_node.demo.results import difference_in_percent, picture_rows, results_table, said_by
from dicom_node.demo.sample_face import ANOMALY, draw_sample_face
from dicom_node.sender import Sender, Verdict
from pipeline.face import FaceFinder, load_face_finder

_POLL_SECONDS = 0.5
# Reading the weights and a first compilation take most of a minute on two busy cores.
_START_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One run; scoring: section [scoring] of the node's settings; folder: data and logs of everything.

    timeout_seconds: how long the results may take, once the node has both photographs.
    """

    folder: Path
    output: Path
    timeout_seconds: float
    archive: ArchiveKind
    scoring: Mapping[str, str]
    console: Console
    began: float = field(default_factory=time.monotonic)

    def run(self) -> bool:
        """Return whether everything came back. Raises DemoError, and WeightsMissingError.

        The node and the PACS have ended when it returns or raises, whatever the reason.
        """
        faces = load_face_finder()
        with (
            running_archive(self.archive, self.folder / "pacs") as archive,
            running_node(self.folder / "node", archive.port, self.scoring) as node,
        ):
            self._say(f"PACS: {archive.name} on port {archive.port}")
            with self.console.status("Drawing a test face, loading the node's weights"):
                photographs = self._photographs(faces)
                self._say(f"Test patient: two encounters drawn in {self.folder}")
                node.wait_until_ready(time.monotonic() + _START_SECONDS)
            self._say(f"Node: facenorm serve on port {node.port}, log in {node.log}")
            self._send(photographs, node)
            arrived = self._wait(photographs, archive, node)
        return self._conclude(arrived, faces, node.log)

    def _photographs(self, faces: FaceFinder) -> list[Photograph]:
        face = draw_sample_face(faces)
        encounters = (
            Encounter(f"before ({ANOMALY.value.replace('_', ' ')}, drawn)", "20250310", face.deformed),
            Encounter("after", "20250915", face.undeformed),
        )
        folder = self.folder / "camera"
        folder.mkdir(parents=True, exist_ok=True)
        return [write_photograph(folder, e, number) for number, e in enumerate(encounters, start=1)]

    def _send(self, photographs: Sequence[Photograph], node: NodeProcess) -> None:
        outcomes = Sender(ae_title=CAMERA_AE_TITLE).send(node, [one.path for one in photographs])
        for photograph, outcome in zip(photographs, outcomes, strict=True):
            if outcome.verdict is not Verdict.DELIVERED:
                raise DemoError(f"the node did not take a photograph ({outcome.error}); its log: {node.log}")
            self._say(f"Encounter {photograph.title}: received by the node")

    def _wait(self, photographs: Sequence[Photograph], archive: Archive, node: NodeProcess) -> list[Arrival]:
        """Poll the PACS until everything is there or time is up; tell each arrival once."""
        told: set[str] = set()
        deadline = time.monotonic() + self.timeout_seconds
        with self.console.status("") as status:
            while True:
                arrived = arrivals(photographs, archive.objects())
                for line in _news(arrived):
                    if line not in told:
                        self._say(line)
                        told.add(line)
                if all(one.settled for one in arrived) or time.monotonic() > deadline:
                    return arrived
                node.check()
                done = sum(bool(one.reported) for one in arrived)
                status.update(f"Scoring: {done} of {len(arrived)} reports are back, {self._elapsed}")
                time.sleep(_POLL_SECONDS)

    def _conclude(self, arrived: Sequence[Arrival], faces: FaceFinder, log: Path) -> bool:
        self.console.print(results_table(arrived))
        if not all(one.complete for one in arrived):
            for one in arrived:
                if one.missing:
                    self.console.print(f"Encounter {one.photograph.title}: {one.missing}", markup=False)
            self._note(f"The demo failed after {self._elapsed}. The node's log: {log}")
            return False
        difference = difference_in_percent(arrived)
        if difference is not None:
            self._note(f"Detected difference, (after - before) / before: {difference:+.1f} %")
        notices = said_by(arrived)
        for notice in notices:
            self._note(notice)
        save_picture(draw_picture(picture_rows(arrived, faces), notices), self.output)
        self._note(f"Everything came back, in {self._elapsed}. Look at {self.output}")
        return True

    @property
    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        return f"{minutes}:{seconds:02d}"

    def _say(self, what: str) -> None:
        self.console.print(f"{self._elapsed:>5}  {what}", markup=False, soft_wrap=True)

    def _note(self, what: str) -> None:
        self.console.print(what, markup=False, soft_wrap=True)


def _news(arrived: Sequence[Arrival]) -> list[str]:
    """Return one line for each thing that is in the PACS."""
    lines = []
    for one in arrived:
        if one.normalized:
            lines.append(f"Encounter {one.photograph.title}: scored, normalized image in the PACS")
        if one.reported:
            lines.append(f"Encounter {one.photograph.title}: report in the PACS")
    return lines
