"""Distances of the photograph's own latent and the normalized one (Boyaci et al. 2020, "Feature extraction").

In units of w, which has none, unless said otherwise. The definitions are scipy's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import distance

from models.latent_covariance import LatentCovariance

MINKOWSKI_ORDER = 3
"""p of the Minkowski distance. The orders 1, 2 and infinity are Manhattan, Euclidean and Chebyshev."""


def latent_distances(
    u: NDArray[np.float64], v: NDArray[np.float64], covariance: LatentCovariance | None = None
) -> dict[str, float]:
    """Return the distances of u = w_raw and v = w_norm, each (w_dim,), by name; sums run over components.

    - d_wbc: Bray-Curtis, sum |u - v| / sum |u + v|, >= 0, a ratio.
    - d_wcorr: correlation, 1 - Pearson's r of the components, in [0, 2].
    - d_wcanberra: sum |u - v| / (|u| + |v|), in [0, w_dim]; a component that is zero in both adds nothing.
    - d_wchebyshev: max |u - v|.
    - d_wmanhattan: sum |u - v|.
    - d_wcosine: 1 - u.v / (|u| |v|), in [0, 2].
    - d_weuclidean: sqrt(sum (u - v)^2).
    - d_wmahalanobis: sqrt((u - v) C^-1 (u - v)), in standard deviations of w along u - v; C is the covariance
      of the generator's own latents. Left out where no covariance is given.
    - d_wminkowski: (sum |u - v|^3)^(1/3). The order is our choice.
    """
    found = {
        "d_wbc": distance.braycurtis(u, v),
        "d_wcorr": distance.correlation(u, v),
        "d_wcanberra": distance.canberra(u, v),
        "d_wchebyshev": distance.chebyshev(u, v),
        "d_wmanhattan": distance.cityblock(u, v),
        "d_wcosine": distance.cosine(u, v),
        "d_weuclidean": distance.euclidean(u, v),
        "d_wminkowski": distance.minkowski(u, v, MINKOWSKI_ORDER),
    }
    if covariance is not None:
        found["d_wmahalanobis"] = distance.mahalanobis(u, v, covariance.inverse)
    return {name: float(value) for name, value in found.items()}
