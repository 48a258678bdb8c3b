"""Scoring without end: the load that a receiver has to stand beside.

    python -m bench.scoring_load GENERATOR READY_FILE      GENERATOR: a name of the catalog, or weights of one

It yields to others as the node's scoring process does. Only the measurement of an aligned face is repeated
(normalization, features), which takes nearly all the time; so it runs on the test generator, too, which draws
no face that could be found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import models  # noqa: F401 - sets how OpenMP waits, before torch is used
from dicom_node.scoring_child import NICENESS
from models.allocator import keep_freed_memory
from models.generator import choose_device, load_generator
from models.lpips import load_metric
from pipeline.features import FeatureExtractor, to_picture, to_tensor
from pipeline.normalization import normalize
from pipeline.profile import Profile


def scoring_loop(generator: str) -> Callable[[], None]:
    """Load everything, score once, and return the function that scores without end."""
    once = scoring_once(generator)
    once()  # whatever is wrong shows before anything is measured beside it

    def loop() -> None:
        while True:
            once()

    return loop


def scoring_once(generator: str) -> Callable[[], None]:
    """Load everything and return a function that normalizes and measures one generated picture."""
    keep_freed_memory()
    chosen = load_generator(generator, choose_device("cpu"))
    metric = load_metric(chosen.device)
    profile = Profile.from_card(chosen.card.profiles["fast"])
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        w = chosen.network.mapping(torch.randn(1, chosen.network.w_dim, generator=random))
        picture = to_picture(chosen.network.synthesis(w)[0])
    x_raw = to_tensor(picture, chosen.device)
    mask = torch.from_numpy(np.ones(picture.shape[:2], np.float32))

    def once() -> None:
        latents = normalize(chosen, metric, x_raw, mask, profile, 0)
        with torch.no_grad():
            extractor = FeatureExtractor(metric, x_raw[None], mask[None])
            for w_norm in latents.w_norm[:, None]:
                x_norm = chosen.network.synthesis(w_norm)
                extractor.compare(x_norm, latents.w_raw[None], w_norm)
                extractor.locate(x_norm)

    return once


def main() -> None:
    generator, ready = sys.argv[1:3]
    os.nice(NICENESS)
    loop = scoring_loop(generator)
    Path(ready).touch()
    loop()


if __name__ == "__main__":
    main()
