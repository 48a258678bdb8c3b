"""`deploy/facenorm.toml` holds every setting, each at its default."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from dicom_node.settings import Settings, load_settings
from dicom_node.settings_sections import Destination, Sender

EXAMPLE = Path(__file__).parents[2] / "deploy" / "facenorm.toml"
LISTS: dict[str, type[BaseModel]] = {"senders": Sender, "destinations": Destination}
SECTIONS = [name for name in Settings.model_fields if name not in LISTS]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FACENORM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def written() -> dict[str, Any]:
    return tomllib.loads(EXAMPLE.read_text("utf-8"))


def test_it_loads_and_names_every_section(written: dict[str, Any]) -> None:
    assert list(written) == [*SECTIONS, *LISTS]
    assert load_settings(EXAMPLE).senders


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_stands_at_its_default(written: dict[str, Any], section: str) -> None:
    defaults = getattr(Settings(), section)
    assert list(written[section]) == list(type(defaults).model_fields)
    assert getattr(load_settings(EXAMPLE), section) == defaults


@pytest.mark.parametrize("name", LISTS)
def test_the_peers_show_every_key(written: dict[str, Any], name: str) -> None:
    for entry in written[name]:
        assert list(entry) == list(LISTS[name].model_fields)
