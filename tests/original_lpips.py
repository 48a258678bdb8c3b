"""Runs `lpips.LPIPS` itself, in a process of its own: it imports torchvision, which CPU builds may lack.

    python -m tests.original_lpips {alex,vgg} TRUNK.safetensors PICTURES.npz DISTANCES.npy

Of torchvision it needs the trunk's layers alone, so a module with just those is put in its place.
PICTURES.npz holds lists of pairs: a0, b0, a1, b1, ... each (N, 3, H, W) float32 in [-1, 1].
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn


def alexnet_layers() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip


def vgg16_layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    inward = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(inward, width, 3, padding=1), nn.ReLU()]
            inward = width
        layers.append(nn.MaxPool2d(2, 2))
    return layers


def trunk(layers: list[nn.Module], weights: str) -> SimpleNamespace:
    features = nn.Sequential(*layers)
    named = {name.removeprefix("features."): value for name, value in load_file(weights).items()}
    features.load_state_dict(named)
    return SimpleNamespace(features=features)


def main(network: str, weights: str, pictures: str, output: str) -> None:
    torchvision, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    models.alexnet = lambda pretrained: trunk(alexnet_layers(), weights)  # type: ignore[attr-defined]
    models.vgg16 = lambda pretrained: trunk(vgg16_layers(), weights)  # type: ignore[attr-defined]
    torchvision.models = models  # type: ignore[attr-defined]
    sys.modules |= {"torchvision": torchvision, "torchvision.models": models}
    import lpips

    torch.set_num_threads(1)
    metric = lpips.LPIPS(net=network, version="0.1", verbose=False)
    with np.load(pictures) as pairs, torch.no_grad():
        distances = [
            metric(torch.from_numpy(pairs[f"a{n}"]), torch.from_numpy(pairs[f"b{n}"])).flatten().numpy()
            for n in range(len(pairs.files) // 2)
        ]
    np.save(output, np.concatenate(distances))


if __name__ == "__main__":
    main(*sys.argv[1:])
