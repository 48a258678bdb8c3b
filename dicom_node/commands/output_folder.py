"""Whether what a command will have made can be written, asked before it is made."""

from __future__ import annotations

import os
from pathlib import Path


def unwritable(output: Path) -> str:
    """Return why no file `output` can be written, as a line for its user; empty where one can."""
    folder = output.absolute().parent
    writable = os.access(folder, os.W_OK | os.X_OK)
    return "" if writable else f"--output: nothing can be written to {folder}"
