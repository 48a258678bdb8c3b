"""The normalized photograph: what it says about itself, and that it is the same object every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)

from reports.derived_image import srgb_profile
from reports.equipment import is_ours
from reports.normalized_photograph import build_normalized_photograph
from tests.report_samples import CREATED, encoded, images_of, pattern, provenance, score, secondary_capture


def build(source=None, result=None, created=CREATED, picture=None):
    return build_normalized_photograph(
        source or secondary_capture(),
        pattern(64, 48) if picture is None else picture,
        result or score(),
        created,
    )


def test_it_says_what_it_is() -> None:
    source = secondary_capture()
    image = build(source)
    assert list(image.ImageType) == ["DERIVED", "SECONDARY"]
    assert image.BodyPartExamined == "FACE"
    assert image.RecognizableVisualFeatures == "YES"
    assert image.BurnedInAnnotation == "NO"
    reference = image.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == source.SOPClassUID
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert len(image.DerivationCodeSequence) == 2
    assert "mobilestylegan" in image.DerivationDescription
    assert "research use only" in image.ImageComments
    assert is_ours(image)
    assert not is_ours(source)
    assert image.ContributingEquipmentSequence[0].Manufacturer == "TEST CAMERA"


@pytest.mark.parametrize("said", ["YES", "NO", None, "PERHAPS"])
def test_what_is_burned_into_the_photograph_is_in_every_image_that_shows_it(said: str | None) -> None:
    source = secondary_capture()
    if said:
        source.BurnedInAnnotation = said
    images = images_of(source, score())
    assert images["normalized"].BurnedInAnnotation == "NO"  # drawn from nothing but the face
    for kind in ("in place", "comparison"):
        assert images[kind].get("BurnedInAnnotation") == (said if said in ("YES", "NO") else None)


@pytest.mark.parametrize(("synthetic", "expected"), [(True, "Synthetic"), (False, "Site-calibrated")])
def test_the_regressors_nature_is_in_the_comments(synthetic: bool, expected: str) -> None:
    image = build(result=score(provenance=provenance(regressor_is_synthetic=synthetic)))
    assert f"{expected} regressor" in image.ImageComments


def test_patient_and_study_are_the_photographs() -> None:
    source = secondary_capture()
    image = build(source)
    for keyword in (
        *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
        *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription"),
        *("AccessionNumber", "ReferringPhysicianName"),
    ):
        assert image[keyword].value == source[keyword].value, keyword


def test_what_the_photograph_lacks_is_there_but_empty() -> None:
    source = secondary_capture(PatientBirthDate=None, StudyID=None, AccessionNumber=None)
    image = build(source)
    assert (image.PatientBirthDate, image.StudyID, image.AccessionNumber) == ("", "", "")


def test_pixels_are_exactly_those_given() -> None:
    picture = pattern(33, 21)  # an odd number of bytes
    image = build(picture=picture)
    assert np.array_equal(image.pixel_array, picture)
    assert len(image.PixelData) % 2 == 0


def test_equal_input_gives_equal_bytes() -> None:
    assert encoded(build()) == encoded(build())


def test_another_moment_changes_the_bytes_but_not_the_uid() -> None:
    later = build(created=CREATED + timedelta(hours=1))
    assert later.SOPInstanceUID == build().SOPInstanceUID
    assert encoded(later) != encoded(build())


@pytest.mark.parametrize(
    "change",
    [
        {"generator_sha256": "c" * 64},
        {"regressor_sha256": "c" * 64},
        {"seed": 8},
        {"settings": {"steps": 26, "lambda_avg": 1.0}},
    ],
)
def test_another_model_or_setting_gives_other_uids(change) -> None:
    first, second = build(), build(result=score(provenance=provenance(**change)))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_photographs_of_a_study_share_a_series() -> None:
    first, second = build(secondary_capture(1)), build(secondary_capture(2))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)


def test_times_are_in_the_photographs_time_zone() -> None:
    image = build(
        secondary_capture(TimezoneOffsetFromUTC="-0530"), created=datetime(2026, 1, 1, 2, tzinfo=UTC)
    )
    assert (image.ContentDate, image.ContentTime) == ("20251231", "203000.000000")
    assert image.TimezoneOffsetFromUTC == "-0530"
    assert build(created=datetime(2026, 1, 1, 2)).ContentTime == "020000.000000"


@pytest.mark.parametrize(
    ("syntax", "declared", "expected", "method"),
    [
        (JPEGBaseline8Bit, None, "01", "ISO_10918_1"),
        (JPEGLSNearLossless, None, "01", "ISO_14495_1"),
        (JPEG2000, None, "01", "ISO_15444_1"),
        (HTJ2K, None, "01", "ISO_15444_15"),
        (JPEG2000, "00", "00", None),
        (RLELossless, "01", "01", None),
        (RLELossless, None, None, None),
    ],
)
def test_lossy_never_becomes_lossless(syntax, declared, expected, method) -> None:
    source = secondary_capture()
    source.file_meta.TransferSyntaxUID = syntax
    if declared:
        source.LossyImageCompression = declared
    image = build(source)
    assert image.get("LossyImageCompression") == expected
    assert image.get("LossyImageCompressionMethod") == method


def test_lossy_ratio_and_method_are_carried() -> None:
    source = secondary_capture(
        LossyImageCompression="01", LossyImageCompressionRatio=[10, 4], LossyImageCompressionMethod=["A", "B"]
    )
    image = build(source)
    assert list(image.LossyImageCompressionRatio) == [10, 4]
    assert list(image.LossyImageCompressionMethod) == ["A", "B"]


@pytest.mark.parametrize("told", [{"Ratio": "12.5"}, {"Method": "ISO_10918_1"}])
@pytest.mark.parametrize("sop_class", [SecondaryCaptureImageStorage, VLPhotographicImageStorage])
def test_a_ratio_or_method_without_the_flag_tells_of_a_loss(told: dict[str, str], sop_class: UID) -> None:
    values = {f"LossyImageCompression{of}": value for of, value in told.items()}
    source = secondary_capture(**values)
    image = build_normalized_photograph(source, pattern(64, 48), score(), CREATED, sop_class)
    assert image.LossyImageCompression == "01"
    assert {name: str(image[name].value) for name in values} == values


def test_the_profile_is_srgb_and_always_the_same() -> None:
    assert srgb_profile() == srgb_profile()
    assert srgb_profile()[36:40] == b"acsp"
    assert srgb_profile()[16:20] == b"RGB "


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_other_arrays_are_refused(picture) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        build(picture=picture)


def test_a_photograph_without_study_is_refused() -> None:
    with pytest.raises(ValueError, match="Study Instance UID"):
        build(secondary_capture(StudyInstanceUID=None))
