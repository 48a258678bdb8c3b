"""`facenorm worker`: one more process that scores."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.scorer_factory import scorer_factory_or_exit
from dicom_node.core import NodeError
from dicom_node.core_file import leave_no_core_file
from dicom_node.logs import configure_logs, watch_threads
from dicom_node.scorer_loading import ScorerFactory
from dicom_node.settings import Settings, SettingsError, load_settings
from dicom_node.until_stopped import Signals, end, tell
from dicom_node.worker import Worker


def worker(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
    status_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Serve /health and /metrics there; 0 takes any port, none without it."
        ),
    ] = None,
) -> None:
    """Take studies from the queue and score them until SIGTERM or SIGINT; one worker per GPU.

    Needs PostgreSQL, and the node's settings and data folder. CUDA_VISIBLE_DEVICES says which GPU it sees.
    """
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    factory = scorer_factory_or_exit(settings, "worker")
    raise typer.Exit(run_worker(settings, factory, status_port=status_port))


def run_worker(settings: Settings, scorer_factory: ScorerFactory, *, status_port: int | None = None) -> int:
    """Run a worker until SIGTERM or SIGINT, or until its GPU fails; return the exit status.

    To be called from the main thread. scorer_factory: see `dicom_node.node.Node`.
    """
    leave_no_core_file()
    configure_logs(settings)
    watch_threads()
    signals = Signals()
    lost = threading.Event()

    def device_lost() -> None:
        lost.set()
        signals.stop()

    process = Worker(
        settings, scorer_factory=scorer_factory, status_port=status_port, device_lost=device_lost
    )
    try:
        with signals.calling(process.give_up):
            process.start()
    except NodeError as error:
        if signals.stopped and not lost.is_set():
            typer.echo("facenorm worker: stopped while it started", err=True)
            return 0
        typer.echo(f"facenorm worker: {error}", err=True)
        return 1
    where = f"; status on http://{settings.status.host}:{process.status_port}/health"
    tell(
        f"facenorm worker: ready as {process.name}{where if process.status_port else ''}; "
        f"data in {settings.data.folder.absolute()}"
    )
    signals.wait()
    status = 1 if lost.is_set() else 0
    if status:
        tell("facenorm worker: the GPU failed; the log says how")
    cut_off = "what was under way is handed to another worker"
    end("facenorm worker", process.stop, cut_off=cut_off, status=status)
    return status
