"""What the demo makes of what came back: a table and the rows of its picture."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from dicom_node.demo.arrivals import Arrival
from dicom_node.demo.picture import PictureRow
from pipeline.dicom_pixels import rgb_from_dataset
from pipeline.face import FaceFinder
from pipeline.locating import locate_face
from pipeline.photograph import read_photograph
from pipeline.pictures import face_images
from pipeline.stopwatch import Stopwatch


def results_table(arrived: Sequence[Arrival]) -> Table:
    """Return one line per photograph: encounter, score, uncertainty, what came back."""
    table = Table(title="Scores: 1 most deformed, 7 most normal", title_justify="left")
    table.add_column("encounter")
    table.add_column("photograph", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("uncertainty", justify="right")
    table.add_column("what came back")
    for one in arrived:
        score = one.score
        table.add_row(
            f"{one.photograph.date}\n{one.photograph.title}",
            one.photograph.sop_instance_uid,
            f"{score.score:.2f}" if score and score.score is not None else "-",
            f"± {score.uncertainty:.2f}" if score and score.uncertainty is not None else "-",
            one.missing or "report\nnormalized image",
        )
    return table


def picture_rows(arrived: Sequence[Arrival], faces: FaceFinder) -> list[PictureRow]:
    """Return the rows of the picture; every photograph must have been scored and come back."""
    return [_row(one, faces) for one in arrived]


def said_by(arrived: Sequence[Arrival]) -> list[str]:
    """Return what the normalized images that came back say of their own worth, each text once."""
    texts = [str(image.get("ImageComments") or "") for one in arrived for image in one.normalized]
    return [text for text in dict.fromkeys(texts) if text]


def difference_in_percent(arrived: Sequence[Arrival]) -> float | None:
    """Return the paper's detected difference, (post - pre) / pre in percent; None without both scores."""
    scores = [one.score.score for one in arrived if one.score is not None]
    if len(scores) != 2 or scores[0] is None or scores[1] is None:
        return None
    return 100 * (scores[1] - scores[0]) / scores[0]


def _row(one: Arrival, faces: FaceFinder) -> PictureRow:
    score = one.score
    if score is None or score.score is None or not one.normalized:
        raise ValueError("only photographs that came back complete have a row")
    images = face_images(
        # As the node did it, so that it lies upon the normalized image.
        locate_face(faces, read_photograph(one.photograph.path), Stopwatch()),
        rgb_from_dataset(one.normalized[0]),
    )
    said = f"{score.score:.2f}"
    return PictureRow(
        heading=f"{one.photograph.date}, {one.photograph.title}",
        score=f"score {said} ± {score.uncertainty:.2f}" if score.uncertainty is not None else said,
        photograph=images.aligned,
        normalized=images.normalized,
        difference=images.difference,
    )
