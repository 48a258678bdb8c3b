"""A window of a picture is the same picture, only smaller."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.window import Window
from pipeline.objective import Objective, face_window
from tests.tiny import latents, random_metric, tiny_generator


@given(st.tuples(*[st.integers(0, 31)] * 4))
@settings(max_examples=25, deadline=None)
def test_window_is_cut_from_the_whole_picture(edges: tuple[int, int, int, int]) -> None:
    (top, bottom), (left, right) = sorted(edges[:2]), sorted(edges[2:])
    window = Window(64, 2 * top, 2 * bottom + 2, 2 * left, 2 * right + 2)
    network, w = tiny_generator().network, latents(2)
    with torch.no_grad():
        whole, part = network.synthesis(w), network.synthesis(w, window=window)
    torch.testing.assert_close(part, whole[:, :, window.rows, window.columns], rtol=1e-5, atol=1e-5)


def test_gradient_through_a_window_is_that_through_the_whole() -> None:
    network = tiny_generator().network
    window = Window(64, 16, 48, 32, 64)
    gradients = []
    for cut in (None, window):
        w = latents(1).clone().requires_grad_()
        picture = network.synthesis(w, window=cut)
        part = picture[:, :, window.rows, window.columns] if cut is None else picture
        gradients.append(torch.autograd.grad(part.square().sum(), w)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("edges", [(0, 0, 0, 4), (4, 2, 0, 4), (0, 70, 0, 4), (-2, 4, 0, 4)])
def test_windows_that_are_no_part_of_the_picture_are_refused(edges: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no part"):
        Window(64, *edges)


def test_face_window_holds_the_mask_on_the_metrics_grid() -> None:
    mask = torch.zeros(256, 256)
    mask[100:180, 90:170] = 1
    window = face_window(mask)
    assert (window.top, window.bottom, window.left, window.right) == (80, 192, 80, 192)
    assert mask[window.rows, window.columns].sum() == mask.sum()


def test_only_the_masked_face_counts_wherever_the_window_ends() -> None:
    """A small mask has a small window, in which the same face is at no distance and another one is."""
    mask = torch.zeros(64, 64)
    mask[20:40, 20:40] = 1
    picture = tiny_generator().network.synthesis(latents(1, seed=2))[0]
    objective = Objective(tiny_generator(), random_metric(), picture, mask, 64)
    assert objective.window.bottom - objective.window.top < 64
    assert float(objective.terms(latents(1, seed=2))[0]) == pytest.approx(0, abs=1e-6)
    assert float(objective.terms(latents(1, seed=3))[0]) > 1e-3
