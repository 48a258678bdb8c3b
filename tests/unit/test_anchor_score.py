"""The anchor score and what is said of pairs, against computations of their own."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from models.generator_card import GeneratorError
from pipeline.anchor_score import Anchors, AnchorScorer, anchor_pictures
from pipeline.detected_difference import detected_difference, summarised
from tests.tiny import random_metric, tiny_generator
from tests.unit.test_features import disc, picture

ANCHORS = Anchors(count=3, seed=5, truncation=0.5)


def test_score_is_one_less_the_mean_distance_to_the_anchors() -> None:
    raw, mask = picture(1), disc()
    anchors = anchor_pictures(tiny_generator(), ANCHORS)
    with torch.no_grad():
        distances = [
            random_metric()(raw[None] * mask, anchor[None] * mask, mask[None, None]).item()
            for anchor in anchors
        ]
    found = AnchorScorer(tiny_generator(), random_metric(), ANCHORS).score(raw, mask)
    assert min(distances) < max(distances)
    assert found == pytest.approx(1 - sum(distances) / 3, rel=1e-5)


def test_anchors_are_faces_of_the_seed_drawn_towards_the_average() -> None:
    generator = tiny_generator()
    pictures = anchor_pictures(generator, ANCHORS)
    assert pictures.shape == (3, 3, 256, 256)
    assert torch.equal(pictures, anchor_pictures(generator, ANCHORS))
    assert not torch.equal(pictures, anchor_pictures(generator, Anchors(3, 6, 0.5)))
    average = anchor_pictures(generator, Anchors(2, 5, 0.0))
    torch.testing.assert_close(average[0], average[1])
    z = torch.randn(3, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        w = torch.lerp(generator.w_avg.expand(3, -1), generator.network.mapping(z), 0.5)
        drawn = generator.network.synthesis(w).clamp(-1, 1)
    enlarged = [cv2.resize(p, (256, 256)) for p in drawn.permute(0, 2, 3, 1).numpy()]  # bilinear
    np.testing.assert_allclose(pictures.permute(0, 2, 3, 1).numpy(), np.stack(enlarged), atol=1e-3)


def test_a_face_that_is_an_anchor_scores_higher_than_one_that_is_not() -> None:
    scorer = AnchorScorer(tiny_generator(), random_metric(), Anchors(1, 5, 0.5))
    (anchor,) = anchor_pictures(tiny_generator(), Anchors(1, 5, 0.5))
    assert scorer.score(anchor, disc()) == pytest.approx(1, abs=1e-6)
    assert scorer.score(anchor, disc()) > scorer.score(picture(1), disc()) + 0.01


def test_what_is_outside_the_mask_does_not_count() -> None:
    scorer = AnchorScorer(tiny_generator(), random_metric(), ANCHORS)
    elsewhere = torch.where(disc() > 0, picture(1), picture(2))
    assert scorer.score(elsewhere, disc()) == scorer.score(picture(1), disc())


def test_detected_difference_is_in_percent_of_the_score_before() -> None:
    assert detected_difference(2.0, 3.0) == 50
    assert detected_difference(4.0, 3.0) == -25
    for before in (0.0, -1.0):
        with pytest.raises(ValueError, match="above zero"):
            detected_difference(before, 3.0)


def test_summary_of_pairs() -> None:
    found = summarised([(2.0, 3.0), (4.0, 3.0), (5.0, 5.0), (1.0, 4.0)])
    assert found.pairs == 4
    assert found.mean_difference == pytest.approx((50 - 25 + 0 + 300) / 4)
    assert found.improved == 50  # unchanged is not improved
    with pytest.raises(ValueError, match="no pair"):
        summarised([])


def test_the_card_names_the_anchors() -> None:
    card = tiny_generator().card
    assert Anchors.of_card(replace(card, anchors={})) == Anchors()
    assert Anchors.of_card(replace(card, anchors={"count": 2, "seed": 7})) == Anchors(2, 7)
    for wrong in ({"number": 2}, {"count": 0}, {"count": "two"}, {"seed": 0.5}):
        with pytest.raises(GeneratorError, match="anchors"):
            Anchors.of_card(replace(card, anchors=wrong))
