"""Pictures of one face lie near each other, those of different faces far apart."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.capture_variation import vary_capture
from pipeline.face_embedding import SAME_PERSON, FaceEmbedder, load_face_embedder
from tests.faces import generated_face
from tests.real_weights import face_finder

pytestmark = pytest.mark.real_weights


@pytest.fixture(scope="module")
def embedder() -> FaceEmbedder:
    return load_face_embedder()


def vector(embedder: FaceEmbedder, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    return embedder.embed(picture, face_finder().find(picture).landmarks)


def test_one_face_is_near_itself_and_far_from_others(embedder: FaceEmbedder) -> None:
    faces = [generated_face(seed) for seed in (3, 4, 5)]
    vectors = [vector(embedder, face) for face in faces]
    assert vectors[0].shape == (128,)
    for one in range(3):
        again = vector(embedder, vary_capture(faces[one], 0.7, 1))
        own = np.linalg.norm(again - vectors[one])
        others = [np.linalg.norm(again - vectors[other]) for other in range(3) if other != one]
        assert own < min(SAME_PERSON, *others)


def test_size_and_turn_of_the_photograph_matter_little(embedder: FaceEmbedder) -> None:
    face = generated_face(3)
    matrix = cv2.getRotationMatrix2D((512, 512), 12, 0.8)
    turned = np.asarray(cv2.warpAffine(face, matrix, (1024, 1024)), dtype=np.uint8)
    assert np.linalg.norm(vector(embedder, turned) - vector(embedder, face)) < 0.35


def test_landmarks_of_another_shape_are_refused(embedder: FaceEmbedder) -> None:
    with pytest.raises(ValueError, match="68"):
        embedder.embed(generated_face(3), np.zeros((5, 2)))
