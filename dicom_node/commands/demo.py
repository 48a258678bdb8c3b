"""`facenorm demo`: the whole loop on this machine."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from dicom_node.commands.output_folder import unwritable
from dicom_node.demo.archive import ArchiveKind
from dicom_node.demo.problem import DemoError

_FAILED, _WRONG_USAGE, _INTERRUPTED = 1, 2, 130


def demo(
    output: Annotated[
        Path, typer.Option(metavar="FILE", dir_okay=False, help="Where the picture goes (PNG).")
    ] = Path("facenorm-demo.png"),
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Keep data and logs here, not in a temporary folder."
        ),
    ] = None,
    pacs: Annotated[
        ArchiveKind, typer.Option(help="auto: Orthanc where it is installed, else the built-in one.")
    ] = ArchiveKind.AUTO,
    timeout_seconds: Annotated[
        float, typer.Option(min=1, help="How long to wait for the results, once the photographs are sent.")
    ] = 900.0,
    profile: Annotated[str, typer.Option(help="Of the scoring, as in the settings.")] = "fast",
    generator: Annotated[str, typer.Option(metavar="NAME", help="As in the settings.")] = "",
    regressor: Annotated[str, typer.Option(metavar="FILE", help="As in the settings.")] = "",
    device: Annotated[str, typer.Option(help="As in the settings.")] = "auto",
) -> None:
    """Send two encounters of a test patient through a node and a small PACS, and show what comes back.

    Exit status 0 only when both photographs were scored and every result arrived in the PACS.
    """
    given = {"profile": profile, "generator": generator, "regressor": regressor, "device": device}
    if trouble := unwritable(output):
        typer.echo(f"facenorm demo: {trouble}", err=True)
        raise typer.Exit(_WRONG_USAGE)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    console = Console(highlight=False)
    kept = folder or Path(tempfile.mkdtemp(prefix="facenorm-demo-"))
    status = _FAILED
    try:
        kept.mkdir(parents=True, exist_ok=True)
        status = _run(console, kept, output, pacs, timeout_seconds, {k: v for k, v in given.items() if v})
    except KeyboardInterrupt:
        console.print("Interrupted; the node and the PACS have ended.")
        status = _INTERRUPTED
    finally:
        # After a failure the logs are wanted.
        if folder is None and status != _FAILED:
            shutil.rmtree(kept, ignore_errors=True)
    raise typer.Exit(status)


def _run(
    console: Console, folder: Path, output: Path, pacs: ArchiveKind, timeout: float, scoring: dict[str, str]
) -> int:
    with console.status("Starting"):
        # Imported here, because torch takes seconds and wrong usage should be told at once.
        from dicom_node.demo.run import Demo
        from models.cache import WeightsMissingError
    try:
        complete = Demo(
            folder=folder.absolute(),
            output=output,
            timeout_seconds=timeout,
            archive=pacs,
            scoring=scoring,
            console=console,
        ).run()
    except (DemoError, WeightsMissingError, OSError) as error:
        console.print(f"The demo failed: {error}", markup=False, soft_wrap=True)
        console.print(f"Data and logs: {folder.absolute()}", markup=False, soft_wrap=True)
        return _FAILED
    return 0 if complete else _FAILED


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
