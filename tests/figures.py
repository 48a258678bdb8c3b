"""Figures of a long run: printed, and kept in the file that FACENORM_FIGURES names, for the documents."""

from __future__ import annotations

import json
import os
from pathlib import Path


def note(run: str, **figures: object) -> None:
    """Print the figures of a run, and put them under its name in the file, if there is to be one."""
    print(f"\n{run}: {json.dumps(figures)}")
    if not (name := os.environ.get("FACENORM_FIGURES")):
        return
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(before | {run: figures}, indent=2) + "\n", "utf-8")
