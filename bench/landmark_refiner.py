"""A small network that moves landmarks to where they are: dlib's follow half of a displacement.

It looks at the aligned face at 256 px, at 25 places around each landmark, and at what all the others see.
What it reaches is measured by `bench.landmark_limit --refiner FILE`; no score uses it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

_LANDMARKS = 68
_LOOKS, _APART = 5, 5.0  # places a side around a landmark, px between them
_SEEN, _OWN, _WIDTH, _ALL = 24, 32, 96, 256
_ROUNDS = 2
_MOVE = 8.0  # px that an answer of 1 stands for


class _Block(nn.Module):
    """Two 3x3 convolutions around a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.relu(self.norm2(self.conv1(functional.relu(self.norm1(x))))))
        joined: Tensor = x + y
        return joined


class LandmarkRefiner(nn.Module):
    """Moves landmarks in two rounds; a new one moves nothing."""

    def __init__(self) -> None:
        """Take random weights from torch's generator."""
        super().__init__()
        seen = _SEEN * _LOOKS**2 + 2
        self.stem = nn.Conv2d(3, 24, 5, stride=2, padding=2)
        self.reduce = nn.Conv2d(24, 48, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(_Block(48), _Block(48))
        self.fine = nn.Conv2d(48, _SEEN, 1)
        self.first, self.own = nn.Linear(seen, _WIDTH), nn.Linear(_OWN, _WIDTH)
        self.name = nn.Parameter(torch.zeros(_LANDMARKS, _WIDTH))
        self.own_weights = nn.Parameter(0.02 * torch.randn(_LANDMARKS, seen, _OWN))
        self.told, self.back = nn.Linear(_WIDTH, _SEEN), nn.Linear(_ALL, _LANDMARKS * _SEEN)
        self.together = nn.Linear(_LANDMARKS * _SEEN, _ALL)
        self.last, self.move = nn.Linear(_WIDTH + _SEEN, _WIDTH), nn.Linear(_WIDTH, 2)
        nn.init.zeros_(self.move.weight)
        nn.init.zeros_(self.move.bias)
        line = (torch.arange(_LOOKS) - (_LOOKS - 1) / 2) * _APART
        around = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
        self.register_buffer("around", around, persistent=False)

    def forward(self, faces: Tensor, landmarks: Tensor) -> list[Tensor]:
        """Return the landmarks, (N, 68, 2) in px of the picture, after each round.

        faces: (N, 3, 256, 256) in [-1, 1]. landmarks: (N, 68, 2), about where they are.
        """
        x = self.blocks(self.reduce(functional.relu(self.stem(faces))))
        seen, rounds = functional.relu(self.fine(functional.relu(x))).float(), []
        for _ in range(_ROUNDS):
            landmarks = self._moved(seen, landmarks.detach(), faces.shape[-1])
            rounds.append(landmarks)
        return rounds

    def _moved(self, seen: Tensor, at: Tensor, side: int) -> Tensor:
        n = len(at)
        around: Tensor = self.around  # type: ignore[assignment]
        places = (at[:, :, None] + around + 0.5) * 2 / side - 1
        looks = functional.grid_sample(seen, places, align_corners=False, padding_mode="border")
        x = looks.permute(0, 2, 3, 1).reshape(n, _LANDMARKS, -1)
        x = torch.cat([x, (at - at.mean(1, keepdim=True)) / 64], -1)
        own = functional.relu(torch.einsum("nls,lso->nlo", x, self.own_weights))
        x = functional.relu(self.first(x) + self.name + self.own(own))
        shared = functional.relu(self.together(self.told(x).flatten(1)))
        from_all = functional.relu(self.back(shared)).view(n, _LANDMARKS, _SEEN)
        move: Tensor = self.move(functional.relu(self.last(torch.cat([x, from_all], -1))))
        return at + _MOVE * move


def load_landmark_refiner(path: Path) -> LandmarkRefiner:
    """Return a trained one."""
    network = LandmarkRefiner()
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return network.eval().requires_grad_(False)
