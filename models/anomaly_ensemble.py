"""Anomaly networks that answer together: the mean of what several say, which errs less than each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from models.anomaly_network import AnomalyAnswer, AnomalyNetwork

_PREFIX = "members"


class AnomalyNetworkError(ValueError):
    """The file is no anomaly network; the message says why."""


class AnomalyEnsemble(nn.Module):
    """One network or several; answers with the mean of their maps and of their severities."""

    def __init__(self, members: Sequence[AnomalyNetwork]) -> None:
        """Take the networks; raises ValueError without any."""
        super().__init__()
        if not members:
            raise ValueError("an ensemble of no networks")
        self._members = nn.ModuleList(members)

    @property
    def members(self) -> list[AnomalyNetwork]:
        """The networks, in the order of the file."""
        return [cast(AnomalyNetwork, member) for member in self._members]

    def forward(
        self, raw_taps: Sequence[Tensor], norm_taps: Sequence[Tensor], raw: Tensor, norm: Tensor, mask: Tensor
    ) -> AnomalyAnswer:
        """Compare N photographs with their normalized pictures, as `AnomalyNetwork.forward`."""
        answers = [member(raw_taps, norm_taps, raw, norm, mask) for member in self._members]
        where = torch.stack([answer.map for answer in answers]).mean(0)
        return AnomalyAnswer(where, torch.stack([answer.severity for answer in answers]).mean(0))

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights as a file holds them, in float16."""
        return {
            f"{_PREFIX}.{n}.{name}": value.half().cpu().contiguous()
            for n, member in enumerate(self.members)
            for name, value in member.state_dict().items()
        }


@dataclass(frozen=True, slots=True)
class LoadedAnomalyNetwork:
    """An ensemble with the sha256 of its file."""

    network: AnomalyEnsemble
    sha256: str


def load_anomaly_network(path: Path, device: torch.device) -> LoadedAnomalyNetwork:
    """Read a file, float16 or float32, of one network's tensors or of `members.0`, `members.1` and so on.

    Raises AnomalyNetworkError where the file is missing or none.
    """
    try:
        content = path.read_bytes()
        tensors = {name: value.float() for name, value in load(content).items()}
        ensemble = AnomalyEnsemble([_network(part) for part in _members(tensors)])
    except OSError as error:
        raise AnomalyNetworkError(f"{path.name} cannot be read ({error.strerror})") from error
    except (KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise AnomalyNetworkError(f"{path.name} is no anomaly network ({reason})") from error
    if not all(value.isfinite().all() for value in tensors.values()):
        raise AnomalyNetworkError(f"{path.name} holds a number that is not finite")
    return LoadedAnomalyNetwork(
        ensemble.eval().requires_grad_(False).to(device), hashlib.sha256(content).hexdigest()
    )


def _members(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return each network's tensors by their own names."""
    parts: list[dict[str, Tensor]] = []
    while found := _below(tensors, f"{_PREFIX}.{len(parts)}."):
        parts.append(found)
    return parts or [dict(tensors)]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}


def _network(tensors: Mapping[str, Tensor]) -> AnomalyNetwork:
    network = AnomalyNetwork(int(tensors["together.bias"].shape[0]))
    network.load_state_dict(tensors)
    return network
