"""The encounter's score, what it is compared with, and when a change is more than noise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pipeline.change import exceeds_noise, repeatability, smallest_change
from pipeline.encounter_score import before, change_since, encounter_score
from tests.report_samples import course, provenance, score


def encounter(date: str, value: float, study: str = "", **changes: object):
    result = score(value=value, provenance=provenance(**changes))
    return encounter_score(study or f"1.2.{date or 0}", date, "", [("1.3", result)])


def test_it_is_the_mean_of_its_photographs_and_no_surer_than_one() -> None:
    scores = [("1.2", score(value=4.0, uncertainty=0.5)), ("1.1", score(value=5.0, uncertainty=0.7))]
    found = encounter_score("1", "20260101", "", scores)
    assert (found.value, found.photographs) == (4.5, 2)
    assert found.uncertainty == pytest.approx(0.6)
    assert found.scoring_ids == tuple(f"1.{n}:{provenance().digest()}" for n in (1, 2))


def test_scores_of_two_setups_make_no_encounter() -> None:
    with pytest.raises(ValueError, match="one setup"):
        encounter_score("1", "", "", [("1", score()), ("2", score(provenance=provenance(seed=1)))])
    with pytest.raises(ValueError, match="one setup"):
        encounter_score("1", "", "", [])


def test_the_newest_earlier_score_of_the_same_setup_is_the_one_before() -> None:
    told = course()
    change = told.change
    assert change is not None
    assert (change.before.study_date, change.before.value) == ("20260104", 4.5)
    assert change.change == pytest.approx(4.8234 - 4.5)
    assert [one.study_date for one in before(told.encounter, told.history)] == [
        "20250304",
        "20251104",
        "20260104",
    ]


def test_other_setups_later_days_and_undated_studies_are_not_compared() -> None:
    now = encounter("20260304", 5.0)
    others = [encounter("20260101", 2.0, seed=1), encounter("20270101", 2.0), encounter("", 2.0)]
    assert change_since(now, [*others, now]) is None
    assert before(encounter("", 5.0), [now]) == []
    assert encounter("20260230", 5.0).date is None  # no such day


@pytest.mark.parametrize(
    ("morning", "evening", "ordered"),
    [
        ("080000", "160000", True),
        ("080000", "080000", False),
        ("", "160000", False),
        ("080000", "", False),
        ("", "", False),
    ],
)
def test_of_two_studies_of_a_day_one_is_before_the_other_only_where_their_times_say_so(
    morning: str, evening: str, ordered: bool
) -> None:
    first, second = (
        replace(encounter("20260304", value, study), study_time=time)
        for value, study, time in ((3.0, "1.2.1", morning), (6.0, "1.2.2", evening))
    )
    earlier = encounter("20260101", 4.0)
    history = [second, earlier, first]
    change = change_since(second, history)
    assert change is not None
    assert change.before is (first if ordered else earlier)
    assert before(second, history) == ([earlier, first] if ordered else [earlier])
    assert before(first, history) == [earlier]


def test_a_change_exceeds_noise_beyond_the_smallest_detectable_one() -> None:
    smallest = smallest_change(0.4, 0.4)
    assert smallest == pytest.approx(1.96 * math.sqrt(2) * 0.4)
    assert not exceeds_noise(-smallest, smallest)
    assert exceeds_noise(-smallest - 0.01, smallest)


def test_the_regressors_repeatability_counts_where_it_is_stated() -> None:
    assert repeatability(score(uncertainty=0.9)) == 0.9
    stated = provenance(settings={"repeatability_sd": 0.2})
    assert repeatability(score(uncertainty=0.9, provenance=stated)) == 0.2
