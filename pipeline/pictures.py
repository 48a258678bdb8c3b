"""The pictures that go with a score: aligned, masked, normalized, difference, anomaly."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.anomaly_picture import anomaly_picture
from pipeline.blended_photograph import blended_photograph
from pipeline.face_regions import region_labels
from pipeline.locating import AlignedFace
from pipeline.result import FaceImages

_LABELS_REDUCED = 2


def face_images(
    face: AlignedFace,
    normalized: NDArray[np.uint8],
    anomaly_map: NDArray[np.float32] | None = None,
    photograph: NDArray[np.uint8] | None = None,
) -> FaceImages:
    """Return the pictures of a face and of its normalized version, uint8 (H, W, 3) of any side.

    anomaly_map: (S, S) of any side (`pipeline.anomaly_map`); without it there is no picture of it.
    photograph: what the face was found in; without it the normalized face is not put back in its place.
    """
    side = face.picture.shape[0]
    if normalized.shape[0] != side:
        normalized = np.asarray(
            cv2.resize(normalized, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8
        )
    inside = face.mask[:, :, None] > 0
    grey = np.uint8(127)
    difference = np.abs(face.picture.astype(np.int16) - normalized.astype(np.int16)).max(2)
    smooth = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), 6)
    heat = cv2.applyColorMap(np.clip(smooth * 3, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    anomaly = None
    if anomaly_map is not None:
        # Drawn at half the side: only their borders are seen, and distances take their time.
        labels = region_labels(face.landmarks, side // _LABELS_REDUCED)
        labels = np.asarray(cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)
        anomaly = anomaly_picture(anomaly_map, labels, face.mask)
    in_place = None
    if photograph is not None:
        in_place = blended_photograph(photograph, normalized, face.mask, face.alignment)
    return FaceImages(
        aligned=face.picture,
        masked=np.where(inside, face.picture, grey),
        normalized=normalized,
        difference=np.ascontiguousarray(np.where(inside, heat, grey), dtype=np.uint8),
        anomaly=anomaly,
        in_place=in_place,
    )
