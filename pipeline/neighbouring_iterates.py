"""The paper's candidates: the iterates of one run that are nearest to the best one.

Boyaci et al. 2020, "Methods": the features are averaged over K of the optimiser's outputs, nearest in LPIPS.
For the `paper` profile only: neighbours of one run are nearly the same picture, so their spread says little.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.objective import Objective


@torch.no_grad()
def neighbouring_iterates(objective: Objective, best: Tensor, iterates: Tensor, count: int) -> Tensor:
    """Return the best latent and the iterates whose pictures are nearest to its own in LPIPS, (count, w_dim).

    In order of distance, the best first. objective: its metric, mask and resolution measure the distance.
    best: (w_dim,). iterates: (N, w_dim), the best among them or not. Raises ValueError for fewer than
    count - 1 others.
    """
    others = iterates[(iterates != best).any(1)]
    if len(others) < count - 1:
        raise ValueError(f"{len(others)} iterates beside the best give no {count} candidates")
    own = objective.weighted_features(best[None])
    # One picture at a time: hundreds of them at full size would take all memory.
    distances = torch.stack(
        [
            sum(
                ((one - tap).square().sum() for one, tap in zip(own, drawn, strict=True)),
                start=torch.zeros((), device=best.device),
            )
            for drawn in map(objective.weighted_features, others[:, None])
        ]
    )
    nearest = distances.argsort(stable=True)[: count - 1]
    return torch.cat([best[None], others[nearest]])
