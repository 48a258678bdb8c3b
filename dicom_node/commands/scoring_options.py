"""Options that stand in for keys of the settings' section `scoring`, with where their defaults come from."""

from __future__ import annotations

from typing import Annotated

import typer

from dicom_node.settings_sections import Scoring


def _of_the_settings(key: str) -> str:
    """Return what `--help` says the default is; without an option the settings count."""
    return f"scoring.{key} in the settings, else {getattr(Scoring(), key)}"


ProfileName = Annotated[
    str | None,
    typer.Option(help="fast, reference or another of the card.", show_default=_of_the_settings("profile")),
]
GeneratorName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A name, or a .safetensors file with its card.",
        show_default=_of_the_settings("generator"),
    ),
]
RegressorFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A regressor in the place of the generator's own.",
        show_default="scoring.regressor in the settings, else the generator's own",
    ),
]
Device = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ...", show_default=_of_the_settings("device"))
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**31 - 1, help="Of the optimisation.", show_default=_of_the_settings("seed")),
]
