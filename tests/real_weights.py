"""The fetched weights, loaded once per session; where a file is missing: `facenorm models fetch`."""

from __future__ import annotations

from functools import cache

import torch

from models.catalog import GENERATOR
from models.generator import Generator, load_generator
from models.lpips import Lpips, load_metric
from pipeline.face import FaceFinder, load_face_finder


@cache
def real_generator() -> Generator:
    return load_generator(GENERATOR, torch.device("cpu"))


@cache
def real_metric(trunk: str = "alexnet") -> Lpips:
    return load_metric(torch.device("cpu"), trunk)


@cache
def face_finder() -> FaceFinder:
    return load_face_finder()
