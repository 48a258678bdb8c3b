"""A set of faces to be rated blind: photographs, their normalized faces and random generated ones, shuffled.

Boyaci et al. 2020 had all three kinds rated together, so that the scale is used up to its normal end. Every
picture is in the generator's frame and is a PNG file with a number for a name. What is which stands in the
key, beside the folder that raters get.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dicom_node.calibration_files import CalibrationError
from dicom_node.calibration_run import Steps
from dicom_node.rating_set_files import SetFolders, SetPhotograph
from dicom_node.rating_sheet import write_sheets
from pipeline.generated_face import generated_face
from pipeline.measuring import Measuring
from pipeline.pictures import face_images
from pipeline.ratings import GROUPS, PERSON
from pipeline.rejection import UnscorablePhotographError
from pipeline.stopwatch import Stopwatch

KEY_COLUMNS = ("picture", "kind", "photograph", PERSON, *GROUPS)
RAW, NORMALIZED, RANDOM = "raw", "normalized", "random"

_TRUNCATION = 0.7  # a little towards the average face: fewer hats, hands and odd backgrounds
_SIDE = 1024
_NO_DIAGNOSIS = {NORMALIZED: "none (normalized face)", RANDOM: "none (random face)"}


@dataclass(frozen=True, slots=True)
class _Item:
    path: Path
    kind: str
    photograph: str
    person: str
    groups: Mapping[str, str]


def export_set(
    folders: SetFolders,
    photographs: Sequence[SetPhotograph],
    random_faces: int,
    measuring: Measuring,
    shuffle_seed: int,
    begin: Callable[[], Steps],
) -> list[tuple[str, str]]:
    """Write the set; return (place, reason) of the photographs that cannot be scored.

    begin: called before each photograph and random face, returns what is told about its steps. An interrupted
    export finds its finished pictures again. Raises CalibrationError where a photograph cannot be read,
    OSError where a file cannot be written.
    """
    folders.unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
    items: list[_Item] = []
    left_out = []
    for photograph in photographs:
        try:
            pair = _pair(folders.unfinished, photograph, measuring, begin())
        except UnscorablePhotographError as error:
            left_out.append((photograph.place, error.rejection.detail))
            continue
        for kind, path in zip((RAW, NORMALIZED), pair, strict=True):
            groups = dict(photograph.groups)
            if kind in _NO_DIAGNOSIS:
                groups["diagnosis"] = _NO_DIAGNOSIS[kind]
            items.append(_Item(path, kind, photograph.name, photograph.person, groups))
    for number in range(1, random_faces + 1):
        begin()
        path = _random_face(folders.unfinished, number, measuring)
        items.append(_Item(path, RANDOM, "", f"random-{number}", {"diagnosis": _NO_DIAGNOSIS[RANDOM]}))
    if not items:
        raise CalibrationError("none of the photographs can be scored")
    _write_set(folders, items, shuffle_seed)
    shutil.rmtree(folders.unfinished)
    return left_out


def _pair(folder: Path, photograph: SetPhotograph, measuring: Measuring, steps: Steps) -> tuple[Path, Path]:
    """Return the aligned photograph and its normalized face as PNG files, made where they are missing."""
    try:
        content = photograph.path.read_bytes()
        key = _key(hashlib.sha256(content).hexdigest(), measuring)
        paths = folder / f"{key}-{RAW}.png", folder / f"{key}-{NORMALIZED}.png"
        if not all(path.exists() for path in paths):
            watch = Stopwatch()
            face = measuring.accepted_face(photograph.path, watch)
            images = face_images(face, measuring.measurer.measure(face, watch, steps).normalized)
            for path, picture in zip(paths, (images.aligned, images.normalized), strict=True):
                _write_picture(path, picture)
    except (UnscorablePhotographError, CalibrationError):
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CalibrationError(f"{photograph.place}: a file cannot be read or written ({reason})") from error
    except Exception as error:  # its text may quote what the file holds
        raise CalibrationError(f"{photograph.place}: failed with {type(error).__name__}") from error
    return paths


def _random_face(folder: Path, number: int, measuring: Measuring) -> Path:
    generator = measuring.generator
    path = folder / f"{_key(f'random {number}', measuring)}.png"
    if not path.exists():
        random = torch.Generator().manual_seed(number)
        z = torch.randn(1, generator.network.w_dim, generator=random)
        picture = generated_face(generator, z, _TRUNCATION)
        if picture.shape[0] != _SIDE:
            picture = np.asarray(cv2.resize(picture, (_SIDE, _SIDE)), dtype=np.uint8)
        _write_picture(path, picture)
    return path


def _key(source: str, measuring: Measuring) -> str:
    setup = json.dumps(measuring.setup(), sort_keys=True)
    return hashlib.sha256(f"{source} {setup}".encode()).hexdigest()


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    partial = path.with_suffix(".part")
    Image.fromarray(picture).save(partial, format="PNG")
    partial.replace(path)


def _write_set(folders: SetFolders, items: Sequence[_Item], shuffle_seed: int) -> None:
    """Give every picture its number; what raters get appears as a whole, and after its key."""
    width = max(3, len(str(len(items))))
    order = np.random.default_rng(shuffle_seed).permutation(len(items)).tolist()
    numbered = [(f"{number:0{width}d}.png", items[n]) for number, n in enumerate(order, start=1)]
    whole = SetFolders(folders.unfinished / "set")
    shutil.rmtree(whole.folder, ignore_errors=True)
    whole.pictures.mkdir(parents=True)
    for name, item in numbered:
        shutil.copyfile(item.path, whole.pictures / name)
    write_sheets(whole.folder, [whole.pictures / name for name, _ in numbered])
    _write_key(whole.key, numbered)
    whole.key.replace(folders.key)
    whole.folder.replace(folders.folder)


def _write_key(path: Path, numbered: Sequence[tuple[str, _Item]]) -> None:
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8", newline="") as file:
        key = csv.writer(file)
        key.writerow(KEY_COLUMNS)
        for name, item in numbered:
            groups = (item.groups.get(column, "") for column in GROUPS)
            key.writerow((name, item.kind, item.photograph, item.person, *groups))
