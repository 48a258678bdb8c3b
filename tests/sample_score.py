"""A score as reports get one; apart from them, because scoring processes of tests import it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.result import Features, Provenance, Score

ROWS, COLUMNS = 480, 360


def pattern(rows: int = ROWS, columns: int = COLUMNS) -> NDArray[np.uint8]:
    """Return a smooth colour pattern, (rows, columns, 3)."""
    y, x = np.mgrid[0:rows, 0:columns]
    return np.stack([x * 255 / columns, y * 255 / rows, (x + y) % 256], axis=2).astype(np.uint8)


def provenance(**changes: Any) -> Provenance:
    values: dict[str, Any] = {
        "generator": "mobilestylegan",
        "generator_sha256": "a" * 64,
        "metric": "lpips-alexnet",
        "regressor": "synthetic-mlp",
        "regressor_sha256": "b" * 64,
        "regressor_is_synthetic": True,
        "profile": "fast",
        "seed": 7,
        "software_version": "0.1.0",
        "settings": {"steps": 25, "lambda_avg": 1.0},
    }
    return Provenance(**(values | changes))


def score(**changes: Any) -> Score:
    values: dict[str, Any] = {
        "value": 4.8234,
        "uncertainty": 0.5126,
        "features": Features(0.0712345678, 0.21, 21.3, 0.4, 0.5),
        "outline": ((100.0, 80.0), (260.5, 80.0), (250.0, 300.25), (110.0, 300.0), (100.0, 80.0)),
        "rows": ROWS,
        "columns": COLUMNS,
        "provenance": provenance(),
        "seconds": {"normalization": 4.8},
        "local_features": {
            "l_p99": 0.2,
            "l_contrast": 0.11,
            "l_asymmetry": 0.03,
            "c_p99": 0.12,
            "c_asymmetry": 0.02,
        },
        "region_shares": {"nose": 0.6123, "upper_lip": 0.25},
    }
    return Score(**(values | changes))
