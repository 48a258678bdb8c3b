"""A small network that moves landmarks to where they are: dlib's follow half of a displacement.

It looks at the aligned face at 256 px, at 25 places closely around each landmark and at 17 places farther
off, and at what all the others see. Trained by `bench.train_landmarks`; what it reaches is measured by
`bench.landmark_limit --refiner FILE`, what it would give a score by `bench.following_landmarks`. No score
uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from bench.varied_faces import SEEN_SIDE
from pipeline.face_shape import MIRRORED, Points

_LANDMARKS = 68
_LOOKS, _APART = 5, 5.0  # places a side closely around a landmark, px between them
_RINGS, _ON_A_RING = (18.0, 34.0), 8  # px from the landmark to the places farther off
_NEAR, _FAR = 24, 32  # what is seen at a place of either sort
_OWN, _WIDTH, _ALL = 16, 96, 256
_ROUNDS = 2
_RESIDUAL = 3.0  # the slope of a leaky ReLU, which makes weights a third as great
_PX = 8.0  # that an answer of 1 stands for


class _Block(nn.Module):
    """Two 3x3 convolutions around a residual, which begins small; without norms, whose gradient is dear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.relu(self.conv1(functional.relu(x))))
        joined: Tensor = x + y
        return joined


class LandmarkRefiner(nn.Module):
    """Moves landmarks in two rounds; a new one moves nothing."""

    def __init__(self) -> None:
        """Take random weights from torch's generator."""
        super().__init__()
        places = 1 + len(_RINGS) * _ON_A_RING
        seen = _NEAR * _LOOKS**2 + _FAR * places + 2
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 48, 3, padding=1))
        self.blocks = _Block(48)
        self.coarser = nn.Sequential(nn.Conv2d(48, 96, 3, stride=2, padding=1), _Block(96))
        self.coarsest = nn.Sequential(nn.Conv2d(96, 128, 3, stride=2, padding=1), _Block(128), _Block(128))
        self.up, self.near, self.far = nn.Conv2d(128, 96, 1), nn.Conv2d(48, _NEAR, 1), nn.Conv2d(96, _FAR, 1)
        self.first, self.own = nn.Linear(seen, _WIDTH), nn.Linear(_OWN, _WIDTH)
        self.name = nn.Parameter(torch.zeros(_LANDMARKS, _WIDTH))
        self.own_weights = nn.Parameter(0.02 * torch.randn(_LANDMARKS, seen, _OWN))
        self.told, self.back = nn.Linear(_WIDTH, _NEAR), nn.Linear(_ALL, _LANDMARKS * _NEAR)
        self.together = nn.Linear(_LANDMARKS * _NEAR + 128, _ALL)
        self.last, self.move = nn.Linear(_WIDTH + _NEAR, _WIDTH), nn.Linear(_WIDTH, 2)
        for layer in (module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for block in (module for module in self.modules() if isinstance(module, _Block)):
            nn.init.kaiming_normal_(block.conv2.weight, a=_RESIDUAL)
        nn.init.zeros_(self.move.weight)
        nn.init.zeros_(self.move.bias)
        line = (torch.arange(_LOOKS) - (_LOOKS - 1) / 2) * _APART
        around = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
        angles = torch.arange(_ON_A_RING) * (2 * torch.pi / _ON_A_RING)
        ring = torch.stack([angles.cos(), angles.sin()], -1)
        farther = torch.cat([torch.zeros(1, 2), *(radius * ring for radius in _RINGS)])
        self.register_buffer("around", around, persistent=False)
        self.register_buffer("farther", farther, persistent=False)

    def forward(self, faces: Tensor, landmarks: Tensor) -> list[Tensor]:
        """Return the landmarks, (N, 68, 2) in px of the picture, after each round; the last are the answer.

        faces: (N, 3, 256, 256) in [-1, 1]. landmarks: (N, 68, 2), about where they are.
        """
        x = self.blocks(self.stem(faces))
        coarser = self.coarser(functional.relu(x))
        coarsest = functional.relu(self.coarsest(functional.relu(coarser)))
        coarser = functional.relu(coarser + functional.interpolate(self.up(coarsest), scale_factor=2.0))
        maps = functional.relu(self.near(functional.relu(x))).float(), self.far(coarser).float()
        whole, rounds = coarsest.mean((2, 3)), []
        for _ in range(_ROUNDS):
            told = self._told(maps, whole, landmarks.detach(), faces.shape[-1])
            landmarks = landmarks.detach() + _PX * self.move(told)
            rounds.append(landmarks)
        return rounds

    def _told(self, maps: tuple[Tensor, Tensor], whole: Tensor, at: Tensor, side: int) -> Tensor:
        """Return what is known of each landmark, (N, 68, width)."""
        n, looks = len(at), []
        for seen, offsets in zip(maps, (self.around, self.farther), strict=True):
            places = (at[:, :, None] + offsets + 0.5) * 2 / side - 1  # type: ignore[operator]
            look = functional.grid_sample(seen, places, align_corners=False, padding_mode="border")
            looks.append(look.permute(0, 2, 3, 1).reshape(n, _LANDMARKS, -1))
        x = torch.cat([*looks, (at - at.mean(1, keepdim=True)) / 64], -1)
        own = functional.relu(torch.einsum("nls,lso->nlo", x, self.own_weights))
        x = functional.relu(self.first(x) + self.name + self.own(own))
        shared = functional.relu(self.together(torch.cat([self.told(x).flatten(1), whole], -1)))
        from_all = functional.relu(self.back(shared)).view(n, _LANDMARKS, _NEAR)
        return functional.relu(self.last(torch.cat([x, from_all], -1)))

    @torch.no_grad()
    def refined(self, pictures: Sequence[NDArray[np.uint8]], found: Sequence[Points]) -> list[Points]:
        """Return the landmarks of aligned faces, moved: the mean of the answers to faces and mirror images.

        pictures: uint8 RGB (S, S, 3) each, of any side. found: dlib's landmarks of each, (68, 2) in shares of
        the side, as are those returned.
        """
        small = [cv2.resize(one, (SEEN_SIDE,) * 2, interpolation=cv2.INTER_AREA) for one in pictures]
        faces = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1
        at = (torch.from_numpy(np.stack(found)) * SEEN_SIDE - 0.5).float()
        there, across = self(torch.cat([faces, faces.flip(-1)]), torch.cat([at, mirrored(at)]))[-1].chunk(2)
        both = (there + mirrored(across)) / 2
        return list((both.double().numpy() + 0.5) / SEEN_SIDE)


def mirrored(landmarks: Tensor) -> Tensor:
    """Return the landmarks (N, 68, 2), in px of pictures of 256 px, of their mirror images."""
    across = landmarks[:, list(MIRRORED)] * torch.tensor((-1.0, 1.0))
    return across + torch.tensor((SEEN_SIDE - 1.0, 0.0))


def load_landmark_refiner(path: Path) -> LandmarkRefiner:
    """Return a trained one."""
    network = LandmarkRefiner()
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return network.eval().requires_grad_(False)
