"""How a part of the demo says that it cannot go on."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot be brought to its end; the text says why and what to do."""
