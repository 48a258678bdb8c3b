"""A scored study in OHIF, in a real browser: what a clinician sees who opens it in the viewer of the PACS."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dicom_node.demo.photographs import Encounter, write_photograph
from dicom_node.demo.sample_face import draw_sample_face
from dicom_node.kept_pictures import packed, unpacked
from models.catalog import GENERATOR
from pipeline.encounter_score import encounter_score
from pipeline.result import Scored
from pipeline.scoring import build_scorer
from reports.comparison_image import build_comparison_image
from reports.normalized_photograph import build_normalized_in_place, build_normalized_photograph
from reports.reported_photograph import ObjectReference, ReportedCourse, ReportedPhotograph
from reports.structured_report import build_structured_report
from tests.acceptance.documents import REPOSITORY
from tests.ohif import view_study
from tests.peers import OrthancPeer, require
from tests.real_weights import face_finder
from tests.report_samples import CREATED, encoded
from tests.tiny import TINY_GENERATOR

pytestmark = pytest.mark.real_weights

SCREENSHOTS = REPOSITORY / "out" / "ohif"
# The viewer shows whatever was scored; for the README's picture: FACENORM_SCREENSHOTS=1.
SCORED_BY = GENERATOR if os.environ.get("FACENORM_SCREENSHOTS") else str(TINY_GENERATOR)


def test_the_score_is_a_measurement_on_the_photograph_and_the_pictures_lie_beside_it(
    orthanc: OrthancPeer, tmp_path: Path
) -> None:
    for program in ("chromium", "node"):
        require(program)
    photograph = write_photograph(
        tmp_path, Encounter("Test", "20260304", draw_sample_face(face_finder()).deformed), 1
    )
    source = dcmread(photograph.path)
    scored = build_scorer(SCORED_BY, "fast", "cpu").score_file(photograph.path)
    assert isinstance(scored, Scored)
    uid, study = str(source.SOPInstanceUID), str(source.StudyInstanceUID)
    encounter = encounter_score(study, "20260304", "", [(uid, scored.score)])
    assert scored.images.in_place is not None
    images = [
        build_normalized_photograph(source, scored.images.normalized, scored.score, CREATED),
        build_normalized_in_place(source, scored.images.in_place, scored.score, CREATED),
        build_comparison_image(
            source, unpacked(packed(scored.images)), scored.score, encounter, [encounter], CREATED
        ),
    ]
    references = [
        ObjectReference(str(i.SOPClassUID), str(i.SOPInstanceUID), str(i.SeriesInstanceUID)) for i in images
    ]
    report = build_structured_report(
        [ReportedPhotograph(source, scored.score, references[0], "test", tuple(references[1:]))],
        None,
        CREATED,
        course=ReportedCourse(encounter, (encounter,)),
    )
    for one in (source, *images, report):
        orthanc.store(encoded(one))
    seen = view_study(
        orthanc,
        study=study,
        report=str(report.SeriesInstanceUID),
        count=5,
        beside={1: "Normalized in place", 2: "Comparison with own norm", 3: "Normalized face"},
        folder=SCREENSHOTS,
    )
    assert seen.errors == []
    assert len(seen.series) == 5
    assert f"Facial normality score: {scored.score.value:.2f} {{score}}" in seen.annotation
    assert f"Uncertainty of facial normality score: {scored.score.uncertainty:.2f}" in seen.annotation
    assert seen.panes == 4
    screen = np.asarray(Image.open(SCREENSHOTS / "study.png").convert("RGB"), dtype=np.int16)
    # The outline is drawn in plain green, which no face has.
    left_top = screen[60:500, 300:900]
    assert ((left_top[:, :, 1] > 200) & (left_top[:, :, 0] < 60) & (left_top[:, :, 2] < 60)).sum() > 100
