"""Joins trained anomaly networks into the file that ships: an ensemble, whose members answer with their mean.

A member that is given as several files is the mean of their weights: between a network and what it became
by further training lies one that has lost less by it. Of a file that holds several, FILE:N is one, from 0.

    python -m bench.join_anomaly_networks --member FILE [FILE ...] [--member ...] --output FILE
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.anomaly_ensemble import AnomalyEnsemble, load_anomaly_network
from models.anomaly_network import AnomalyNetwork


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--member", nargs="+", action="append", required=True, metavar="FILE")
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    members = [member(files) for files in options.member]
    save_file(AnomalyEnsemble(members).tensors(), options.output)


def member(files: Sequence[str]) -> AnomalyNetwork:
    """Return the network of one file, or the mean of the networks of several."""
    networks = [_network(name) for name in files]
    states = [network.state_dict() for network in networks]
    networks[0].load_state_dict({k: torch.stack([s[k] for s in states]).mean(0) for k in states[0]})
    return networks[0]


def _network(name: str) -> AnomalyNetwork:
    path, _, number = name.partition(":")
    return load_anomaly_network(Path(path), torch.device("cpu")).network.members[int(number or 0)]


if __name__ == "__main__":
    main()
