"""`facenorm serve`: run the node."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from dicom_node.core import NodeError
from dicom_node.logs import configure_logs, watch_threads
from dicom_node.node import Node
from dicom_node.scorer_loading import Scorer, load_scorer
from dicom_node.settings import Settings, SettingsError, load_settings


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Run the node until SIGTERM or SIGINT."""
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    factory = partial(load_scorer, settings.scoring, settings.quality.thresholds())
    raise typer.Exit(run_node(settings, factory, reread=lambda: load_settings(config)))


def run_node(
    settings: Settings,
    scorer_factory: Callable[[], Scorer],
    *,
    reread: Callable[[], Settings] = lambda: load_settings(None),
) -> int:
    """Run a node until SIGTERM or SIGINT; return the exit status. To be called from the main thread.

    scorer_factory: see `Node`.
    """
    configure_logs(settings)
    watch_threads()
    asked, asked_to_stop, asked_to_reload = threading.Event(), threading.Event(), threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()
        asked.set()

    def reload(_signal: int, _frame: FrameType | None) -> None:
        asked_to_reload.set()
        asked.set()

    signal.signal(signal.SIGHUP, reload)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    node = Node(settings, scorer_factory=scorer_factory)
    try:
        node.start()
    except NodeError as error:
        typer.echo(f"facenorm serve: {error}", err=True)
        return 1
    # pynetdicom has Python look through all objects after every sixtieth association or half minute: not
    # again through those of the libraries, which takes 0.1 s and more of the interpreter's lock.
    gc.collect()
    gc.freeze()
    _announce(settings, node)
    while not asked_to_stop.is_set():
        asked.wait()
        asked.clear()
        if asked_to_reload.is_set():
            asked_to_reload.clear()
            _reload(node, reread)
    typer.echo("facenorm serve: stopping", err=True)
    if not node.stop():
        # A thread cannot be stopped in the midst of a scoring.
        typer.echo("facenorm serve: what was under way is taken up again at the next start", err=True)
        sys.stderr.flush()
        os._exit(0)
    return 0


def _reload(node: Node, reread: Callable[[], Settings]) -> None:
    """On SIGHUP: read the settings again, and go on with the old ones where they are wrong."""
    try:
        later = node.reload(reread())
    except (SettingsError, NodeError) as error:
        typer.echo(f"facenorm serve: nothing was changed: {error}", err=True)
        return
    typer.echo("facenorm serve: senders, retention, token and certificates were read again", err=True)
    if later:
        typer.echo(f"facenorm serve: after a restart only: {', '.join(later)}", err=True)


def _announce(settings: Settings, node: Node) -> None:
    typer.echo(
        f"facenorm serve: ready. {settings.node.ae_title} listens on {settings.node.host}:{node.port}; "
        f"status on http://{settings.status.host}:{node.status_port}/health; "
        f"data in {settings.data.folder.absolute()}",
        err=True,
    )
    if not settings.senders:
        typer.echo("facenorm serve: nobody may send, because no [[senders]] are configured", err=True)
    if not settings.destinations:
        typer.echo(
            "facenorm serve: results are kept here, because no [[destinations]] are configured", err=True
        )
