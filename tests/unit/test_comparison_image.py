"""The comparison: three pictures, a scale, nothing that tells who or when; its UID covers what it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dicom_node.kept_pictures import packed, unpacked
from pipeline.encounter_score import Change, encounter_score
from pipeline.result import FaceImages
from reports.comparison_image import build_comparison_image
from reports.comparison_picture import HEIGHT, SMALLEST_TEXT, WIDTH, Panels, draw_comparison, how_long_ago
from reports.notices import change_in_words, visit_in_words
from reports.reported_photograph import ObjectReference
from tests.report_samples import CREATED, STUDY_UID, course, encoded, pattern, score, secondary_capture

PREDECESSOR = ObjectReference("1.2.840.10008.5.1.4.1.1.7", "1.2.3", "1.2.4")


def even(level: int, side: int = 64):
    return np.full((side, side, 3), level, np.uint8)


def build(told=None, predecessor=None, created=CREATED):
    told = told or course()
    panels = Panels(even(200), even(120), even(40))
    return build_comparison_image(
        secondary_capture(), panels, score(), told.encounter, told.history, created, predecessor
    )


def test_the_three_pictures_lie_side_by_side() -> None:
    picture = build().pixel_array
    assert picture.shape == (HEIGHT, WIDTH, 3)
    for column, level in ((260, 200), (768, 120), (1270, 40)):
        assert (picture[300, column] == level).all()


def test_text_stays_legible_when_a_viewer_shows_it_1024_pixels_wide() -> None:
    # Print of 10 points on a monitor of 96 pixels an inch is 13 pixels high.
    assert SMALLEST_TEXT * 1024 / WIDTH >= 16


def test_earlier_scores_and_the_current_one_are_on_the_scale() -> None:
    told = course()
    panels = Panels(*(even(90) for _ in range(3)))
    with_history = draw_comparison(
        panels, score(), told.encounter, told.history[:3], told.change, [365, 120, 60]
    )
    alone = draw_comparison(panels, score(), told.encounter, [], None, [])
    moved = draw_comparison(panels, score(value=2.0), told.encounter, [], None, [])
    assert (with_history != alone).any(axis=2).sum() > 2000
    assert (moved != alone).any(axis=2).sum() > 2000


@pytest.mark.parametrize("values", [[4.6] * 6, [4.4, 4.5, 4.6, 4.7, 4.8, 4.9], [1.0] * 6, [7.0] * 6])
def test_the_ages_of_earlier_scores_are_legible_however_near_these_are(values: list[float]) -> None:
    told, now = course(), score(value=4.0)
    panels = Panels(*(even(90) for _ in range(3)))

    def letters(values: list[float]) -> int:
        earlier = [replace(told.history[0], value=value) for value in values]
        picture = draw_comparison(panels, now, told.encounter, earlier, None, [700, 650, 600, 500, 400, 300])
        return int((picture[670:855] == (0, 84, 147)).all(axis=2).sum())

    usual = letters([1.5, 2.2, 2.9, 5.1, 5.8, 6.5])
    assert letters(values) == pytest.approx(usual, rel=0.03)


def visit(*values: float, change: Change | None):
    """Return the line about a visit of photographs with these scores."""
    scores = [(f"{STUDY_UID}.1.{number}", score(value=value)) for number, value in enumerate(values, 1)]
    return visit_in_words(encounter_score(STUDY_UID, "20260304", "", scores), change)


def test_the_change_of_a_visit_of_several_photographs_names_their_mean() -> None:
    # The photograph's own score stands above it: from 5.5 nobody would see that 5.0 changed by 0.
    change = Change(course().history[2], 0.0, 1.39)
    words = change_in_words(course().encounter, change)
    assert visit(5.5, 4.5, change=change) == f"Visit's mean 5.00 of 2 photographs. {words}"
    assert visit(5.5, 4.5, 2.0, change=None).startswith("Visit's mean 4.00 of 3 photographs. No earlier")
    assert visit(5.5, change=change) == words


def test_a_study_without_a_date_is_said_to_be_compared_with_none() -> None:
    undated = replace(course().encounter, study_date="")
    assert visit_in_words(undated, None) == "Not compared: no usable study date."


def test_no_change_has_no_sign_of_a_loss() -> None:
    change = Change(course().history[2], -0.004, 1.39)
    assert change_in_words(course().encounter, change) == "Change +0.00: within noise (+/- 1.39)."


def test_the_picture_shows_the_visits_mean_and_has_room_for_it() -> None:
    one, several = course().encounter, replace(course().encounter, photographs=99)
    panels = Panels(*(even(90) for _ in range(3)))
    pictures = [draw_comparison(panels, score(), each, [], course().change, []) for each in (one, several)]
    rows, columns = np.nonzero((pictures[0] != pictures[1]).any(axis=2))
    assert len(rows) > 0
    assert columns.max() < WIDTH - 24
    assert rows.max() - rows.min() < 40  # one line, and nothing else moved


def test_it_names_no_one_and_no_day() -> None:
    # The picture is a function of scores, panels and ages: other names and dates change no pixel.
    source = secondary_capture(PatientName="OTHER^TEST", PatientID="TEST-9", StudyDate="19991231")
    source.BurnedInAnnotation = "NO"
    told = course()
    panels = Panels(even(200), even(120), even(40))
    other = build_comparison_image(source, panels, score(), told.encounter, told.history, CREATED)
    assert np.array_equal(other.pixel_array, build().pixel_array)
    assert other.BurnedInAnnotation == "NO"


def test_its_uid_covers_every_score_that_it_shows() -> None:
    told = course()
    shorter = type(told)(told.encounter, told.history[1:])
    uids = {
        build(told).SOPInstanceUID,
        build(shorter).SOPInstanceUID,
        build(told, PREDECESSOR).SOPInstanceUID,
    }
    assert len(uids) == 3
    later = type(told)(told.encounter, (*told.history, type(told.encounter)(**_fields(told.encounter))))
    assert build(later).SOPInstanceUID == build(told).SOPInstanceUID  # what is not shown does not count


def _fields(one):
    values = {name: getattr(one, name) for name in type(one).__slots__}
    return values | {"study_instance_uid": "9.9", "study_date": "20300101"}


def test_equal_input_gives_equal_bytes_and_the_predecessor_is_named() -> None:
    assert encoded(build()) == encoded(build())
    (reference,) = build(predecessor=PREDECESSOR).ReferencedInstanceSequence
    assert reference.ReferencedSOPInstanceUID == "1.2.3"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "PREDECESSOR"


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0, "0 d before"), (20, "20 d before"), (21, "3 wk before"), (120, "4 mo before"), (800, "2 y before")],
)
def test_ages_are_told_as_a_clinician_would(days: int, expected: str) -> None:
    assert how_long_ago(days) == expected


def test_pictures_are_kept_without_loss() -> None:
    images = FaceImages(pattern(64, 64), even(1), even(2), even(3), even(4))
    panels = unpacked(packed(images))
    assert np.array_equal(panels.aligned, pattern(64, 64))
    assert (panels.normalized == 2).all()
    assert (panels.anomaly == 4).all()
    with pytest.raises(OSError, match=r"identify|damaged"):
        unpacked(b"no picture")
