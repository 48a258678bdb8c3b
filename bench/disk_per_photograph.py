"""What a scored photograph leaves on the disk: bytes by kind of file, of generated faces of one a study.

    python -m bench.disk_per_photograph [--count 1] [--megapixels 12] [--record FILE]

The node's own steps, the default generator and every object that the settings make by default; the patient is
seen for the first time, so each study's objects show one encounter.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pydicom.uid import generate_uid

from bench.face_photographs import face, framed
from bench.growth_of_archive import Archive
from bench.noise_photographs import dicom_file, jpeg
from bench.received_rows import add_encounter, received_photograph
from bench.table import show
from dicom_node.scorer_loading import load_scorer
from dicom_node.settings import Settings


def measure(folder: Path, *, count: int, megapixels: float) -> dict[str, float]:
    """Return megabytes a photograph by kind of file, and in all."""
    settings = Settings()
    archive = Archive(folder)
    scorer = load_scorer(settings.scoring, settings.quality.thresholds())
    steps = archive.steps(scorer, settings.reports.options)
    for number in range(count):
        uid = _receive(archive, number, megapixels)
        steps.score_photograph(uid)
        steps.report_study([uid])
    archive.engine.dispose()
    kinds = sorted(kind for kind in archive.store.folder.iterdir() if kind.is_dir())
    found = {kind.name: _bytes(kind) / count / 1e6 for kind in kinds}
    return {**{k: round(v, 3) for k, v in found.items()}, "in_all": round(sum(found.values()), 3)}


def _receive(archive: Archive, number: int, megapixels: float) -> str:
    picture = framed(face(number), megapixels)
    study, uid, now = str(generate_uid()), str(generate_uid()), datetime.now(UTC)
    name = f"TEST-{number:04d}"
    rows, columns = picture.shape[:2]
    file = archive.store.write("photograph", uid, dicom_file(jpeg(picture), rows, columns, study, name, uid))
    with archive.sessions.begin() as session:
        encounter = add_encounter(session, patient_id=f"{name}-DISK", study=study, at=now)
        session.add(received_photograph(encounter, uid, file, now))
    return uid


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--record", type=Path, help="write the figures into this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="facenorm-bench-") as name:
        record = measure(Path(name) / "node", count=options.count, megapixels=options.megapixels)
    show("MB on the disk, a photograph", [(kind, f"{value:g}") for kind, value in record.items()])
    if options.record:
        options.record.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
