"""The trend and the patient's page: what is joined, what is said, and every script in its own shapes."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from reports.patient_name import readable_names
from reports.patient_page import PatientPage
from reports.patient_pdf import build_patient_pdf
from reports.reported_photograph import ReportedCourse
from reports.structured_report import build_structured_report
from reports.trend_image import build_trend_image
from reports.trend_picture import HEIGHT, WIDTH, draw_trend
from tests.report_samples import (
    CREATED,
    EARLIER,
    NAMES,
    course,
    encoded,
    pattern,
    provenance,
    reported,
    score,
    secondary_capture,
    vl_photograph,
)

ARABIC = "اختبار^مريض"


def page_of(source, told=None, comparison=None):
    told = told or course()
    return build_patient_pdf(source, PatientPage(told, draw_trend(told.shown, ""), comparison), CREATED)


def reader(document) -> PdfReader:
    return PdfReader(BytesIO(document.EncapsulatedDocument))


def text_of(document) -> str:
    return " ".join(" ".join(page.extract_text() for page in reader(document).pages).split())


def test_the_page_holds_what_a_patient_takes_home() -> None:
    document = page_of(secondary_capture(), comparison=pattern(1024, 1536))
    assert document.Modality == "DOC"
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert len(reader(document).pages) == 2
    first = " ".join(reader(document).pages[0].extract_text().split())
    for expected in ("For research use only. Not a medical device.", "PATIENT TEST", "TEST-1 (TEST SITE)"):
        assert expected in first
    whole = text_of(document)
    for expected in (
        *("2025-03-04 3.10", "2026-01-04 4.50", "2026-03-04 4.82", "not comparable", "within noise"),
        *("Synthetic regressor", "What it cannot tell", "not a forecast"),
    ):
        assert expected in whole
    assert len(reader(document).pages[0].images) + len(reader(document).pages[1].images) == 2


def test_the_page_of_a_visit_without_a_date_does_not_say_that_there_was_no_earlier_one() -> None:
    undated = replace(course().encounter, study_date="")
    told = ReportedCourse(undated, (*course().history[:3], undated))
    whole = text_of(build_patient_pdf(secondary_capture(), PatientPage(told, None, None), CREATED))
    assert "no date" in whole
    assert "Not compared" in whole
    assert "No earlier" not in whole


def test_a_long_name_and_identifier_go_on_in_the_next_line() -> None:
    name, identifier = "W" * 60, "M" * 64
    page = reader(page_of(secondary_capture(PatientName=name, PatientID=identifier))).pages[0]
    lines = page.extract_text().splitlines()
    assert name in "".join(lines)
    assert identifier in "".join(lines)
    # Of these letters the page holds hardly more than 40 beside the label.
    assert not any("W" * 50 in line or "M" * 50 in line for line in lines)


def test_many_visits_still_fit_two_pages_and_more_get_a_third() -> None:
    told = course()
    many = tuple(
        type(told.encounter)(
            **(_fields(told.encounter) | {"study_instance_uid": f"9.{n}", "study_date": day})
        )
        for n, day in enumerate(f"20{year}0{month}01" for year in range(20, 26) for month in (1, 5, 9))
    )
    more = tuple(replace(one, study_instance_uid=f"{one.study_instance_uid}.1") for one in many)
    for visits, pages in ((many, 2), (many + more, 3)):
        long = ReportedCourse(told.encounter, (*visits, told.encounter))
        document = page_of(secondary_capture(), long, pattern(1024, 1536))
        assert len(reader(document).pages) == pages
        assert text_of(document).count("4.82 ±") == len(visits) + 1


def _fields(one):
    return {name: getattr(one, name) for name in type(one).__slots__}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_survives_from_photograph_to_report_to_pdf(name: str, tmp_path: Path) -> None:
    source = vl_photograph(tmp_path, name)
    report = build_structured_report([reported(source, score())], None, CREATED)
    document = page_of(source)
    for made in (report, document):
        assert made.PatientName == source.PatientName
    expected = readable_names(source)
    assert len(expected) == str(NAMES[name][1]).count("=") + 1
    whole = _in_base_forms(text_of(document))
    for group in expected:
        assert _in_base_forms(group) in whole or _in_base_forms(group)[::-1] in whole, name


@pytest.mark.parametrize(
    ("name", "printed", "left_out"),
    [
        ("TEST^PATIENT=张^三", "Name PATIENT TEST Identifier TEST-1 (TEST SITE)", "三"),
        ("TEST^PATIENT=辻\U000e0100^太郎=홍^太", "Name PATIENT TEST 辻", "홍"),
        ("张^三", "Name (in letters that this page cannot print) Identifier TEST-1 (TEST SITE)", "三"),
    ],
)
def test_a_name_is_printed_whole_or_not_at_all(name: str, printed: str, left_out: str) -> None:
    # The fonts have no simplified Chinese: of two characters one would be left, which is another name.
    whole = text_of(page_of(secondary_capture(SpecificCharacterSet="ISO_IR 192", PatientName=name)))
    assert printed in whole
    assert left_out not in whole


def test_an_identifier_is_printed_whole_or_not_at_all() -> None:
    source = secondary_capture(SpecificCharacterSet="ISO_IR 192", PatientID="TEST-홍1")
    assert "Identifier (in letters that this page cannot print)" in text_of(page_of(source))
    source = secondary_capture(SpecificCharacterSet="ISO_IR 192", IssuerOfPatientID="试 SITE")
    assert "Identifier TEST-1 Born" in text_of(page_of(source))


def _in_base_forms(text: str) -> str:
    return text.replace("\u202b", "").replace("\u202c", "")


def test_names_are_put_in_reading_order() -> None:
    assert readable_names(secondary_capture(PatientName="TEST^Ann^B.^Dr^Jr")) == ["Dr Ann B. TEST Jr"]
    source = secondary_capture(SpecificCharacterSet="ISO_IR 192", PatientName=NAMES["japanese"][1])
    assert readable_names(source) == ["PATIENT TEST", "試験 患者", "てすと かんじゃ"]
    assert readable_names(secondary_capture(PatientName="")) == []


def test_arabic_letters_are_joined() -> None:
    source = secondary_capture(SpecificCharacterSet="ISO_IR 192", PatientName=ARABIC)
    drawn = _glyphs_by_letter(page_of(source))
    # Alef stands alone at the beginning and is joined to the letter before it at the end: two glyphs.
    assert len(drawn["ا"]) == 2
    # Every other letter's glyph is a joined form, not the one that the font's table gives for the letter.
    assert all(drawn[letter] for letter in "خبرمض")


def _glyphs_by_letter(document) -> dict[str, set[str]]:
    """Return letter -> the codes of the embedded glyphs that stand for it."""
    found: dict[str, set[str]] = {}
    for page in reader(document).pages:
        for font in page["/Resources"]["/Font"].values():
            table = font.get_object()["/ToUnicode"].get_object().get_data().decode("latin-1")
            for code, letter in re.findall(r"<([0-9A-Fa-f]+)> <([0-9A-Fa-f]{4})>\n", table):
                found.setdefault(chr(int(letter, 16)), set()).add(code)
    return found


def test_every_font_is_embedded() -> None:
    source = secondary_capture(SpecificCharacterSet="ISO_IR 192", PatientName=NAMES["japanese"][1])
    names = set()
    for page in reader(page_of(source)).pages:
        for font in page["/Resources"]["/Font"].values():
            descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
            assert "/FontFile2" in descriptor
            names.add(str(descriptor["/FontName"]).split("+")[1])
    assert all(any(name.startswith(font) for name in names) for font in ("DejaVuSans", "IPAexGothic"))


def test_what_no_font_has_is_no_error_and_is_told_to_no_log(caplog: pytest.LogCaptureFixture) -> None:
    source = secondary_capture(SpecificCharacterSet="ISO_IR 192", PatientName="TEST^\U00016a40")
    with caplog.at_level(logging.DEBUG):
        assert "TEST" in text_of(page_of(source))
    assert "\U00016a40" not in caplog.text


def test_equal_input_gives_equal_bytes_and_another_name_another_uid() -> None:
    assert encoded(page_of(secondary_capture())) == encoded(page_of(secondary_capture()))
    renamed = page_of(secondary_capture(PatientName="RENAMED^TEST"))
    assert renamed.SOPInstanceUID != page_of(secondary_capture()).SOPInstanceUID


def test_the_trend_ends_where_the_calendar_of_the_charts_does() -> None:
    first, *_, last = course().shown
    for first_day, last_day in (("00010101", "20250101"), ("20250101", "99991231")):
        ends = [replace(first, study_date=first_day), replace(last, study_date=last_day)]
        assert draw_trend(ends, last.setup_digest).shape == (HEIGHT, WIDTH, 3)


def test_the_trend_joins_only_what_one_setup_scored() -> None:
    told = course()
    setup = told.encounter.setup_digest
    joined = draw_trend(told.shown, setup)
    assert joined.shape == (HEIGHT, WIDTH, 3)
    alone = draw_trend([one for one in told.shown if one.setup_digest == setup], setup)
    # The other setup's score adds grey, and moves no line.
    blue = [(np.abs(p.astype(int) - (0, 84, 147)).max(2) < 12).sum() for p in (joined, alone)]
    assert abs(int(blue[0]) - int(blue[1])) < 0.1 * blue[1]
    assert len(EARLIER) == 3
    with pytest.raises(ValueError, match="date"):
        draw_trend([], setup)


def test_the_names_of_many_models_leave_the_research_notice_readable() -> None:
    one = course().encounter
    many = [replace(one, study_date=f"20{n}0101", setup_digest=f"{n}" * 32) for n in range(10, 24)]
    notice = [draw_trend([*others, one], one.setup_digest)[-36:] for others in ([], many[:3], many)]
    assert (notice[0] == notice[1]).all()
    assert (notice[0] == notice[2]).all()


def test_long_names_of_models_leave_the_legend_in_the_picture() -> None:
    *_, before, now = course().shown
    shown = [replace(before, setup_digest="1" * 64), now]
    edges = {}
    for name in ("mobilestylegan", "W" * 64, "顔" * 64):
        named = [replace(one, generator=name, regressor=name) for one in shown]
        edges[name] = np.flatnonzero((draw_trend(named, now.setup_digest)[850:960] < 200).any(axis=(0, 2)))
    assert all(ink.min() > 20 and ink.max() < WIDTH - 20 for ink in edges.values())


def test_names_of_models_stand_in_the_legend_as_they_are() -> None:
    """Neither as formulas, of which most pairs of dollar signs enclose none, nor left out."""
    now = course().encounter

    def letters(name: str) -> int:
        drawn = draw_trend([replace(now, generator=name, regressor=name)], now.setup_digest)
        return int((drawn[840:900] < 128).all(axis=2).sum())

    # Letters that the font lacked were all the same box.
    assert len({letters(name) for name in ("一一", "鬱鬱", "かな")}) == 3
    usual = letters("a b")
    for name in ("$_$", "$a b$", "_a b"):
        assert letters(name) > usual, name


@pytest.mark.parametrize(("synthetic", "said"), [(True, "Synthetic regressor"), (False, "Site-calibrated")])
def test_the_trend_says_where_its_scores_come_from(synthetic: bool, said: str) -> None:
    told = course(score(provenance=provenance(regressor_is_synthetic=synthetic)))
    comments = build_trend_image([secondary_capture()], told, CREATED).ImageComments
    assert comments.startswith(f"For research use only. Not a medical device. {said}")


def test_the_trend_says_that_it_shows_dates_and_covers_every_score() -> None:
    told = course()
    image = build_trend_image([secondary_capture()], told, CREATED)
    assert (image.BurnedInAnnotation, image.RecognizableVisualFeatures, image.Modality) == ("YES", "NO", "OT")
    shorter = ReportedCourse(told.encounter, told.history[1:])
    assert build_trend_image([secondary_capture()], shorter, CREATED).SOPInstanceUID != image.SOPInstanceUID
    assert encoded(image) == encoded(build_trend_image([secondary_capture()], told, CREATED))
