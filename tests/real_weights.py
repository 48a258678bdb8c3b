"""The fetched weights, loaded once per session; where a file is missing: `facenorm models fetch`."""

from __future__ import annotations

from functools import cache

import torch

from models.cache import cached_path
from models.catalog import GENERATOR, LANDMARKS, LPIPS_TRUNKS
from models.generator import Generator, load_generator
from models.lpips import Lpips
from pipeline.face import FaceFinder


@cache
def real_generator() -> Generator:
    return load_generator(GENERATOR, torch.device("cpu"))


@cache
def real_metric(trunk: str = "alexnet") -> Lpips:
    return Lpips.load(trunk, cached_path(LPIPS_TRUNKS, f"{trunk}.safetensors"))


@cache
def face_finder() -> FaceFinder:
    return FaceFinder(cached_path(LANDMARKS, "shape_predictor_68_face_landmarks.dat"))
