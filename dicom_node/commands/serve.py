"""`facenorm serve`: run the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.scorer_factory import scorer_factory_or_exit
from dicom_node.core import NodeError
from dicom_node.core_file import leave_no_core_file
from dicom_node.logs import configure_logs, watch_threads
from dicom_node.node import Node
from dicom_node.scorer_loading import ScorerFactory
from dicom_node.settings import Settings, SettingsError, load_settings
from dicom_node.until_stopped import Signals, end, freeze_what_is_loaded, tell
from models.allocator import keep_some_freed_memory


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
    no_score: Annotated[
        bool,
        typer.Option("--no-score", help="Receive and send only; `facenorm worker` scores. Needs PostgreSQL."),
    ] = False,
) -> None:
    """Run the node until SIGTERM or SIGINT."""
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    factory = None if no_score else scorer_factory_or_exit(settings, "serve")
    raise typer.Exit(run_node(settings, factory, reread=lambda: load_settings(config)))


def run_node(
    settings: Settings,
    scorer_factory: ScorerFactory | None,
    *,
    reread: Callable[[], Settings] = lambda: load_settings(None),
) -> int:
    """Run a node until SIGTERM or SIGINT; return the exit status. To be called from the main thread.

    scorer_factory: see `Node`.
    """
    keep_some_freed_memory()
    leave_no_core_file()
    configure_logs(settings)
    watch_threads()
    signals = Signals()
    signals.take_reloads()
    node = Node(settings, scorer_factory=scorer_factory)
    try:
        with signals.calling(node.give_up):
            node.start()
    except NodeError as error:
        if signals.stopped:
            typer.echo("facenorm serve: stopped while it started", err=True)
            return 0
        typer.echo(f"facenorm serve: {error}", err=True)
        return 1
    freeze_what_is_loaded()
    _announce(settings, node, scores=scorer_factory is not None)
    signals.wait(lambda: _reload(node, reread))
    end("facenorm serve", node.stop, cut_off="what was under way is taken up again at the next start")
    return 0


def _reload(node: Node, reread: Callable[[], Settings]) -> None:
    """On SIGHUP: read the settings again, and go on with the old ones where they are wrong."""
    try:
        later = node.reload(reread())
    except (SettingsError, NodeError) as error:
        tell(f"facenorm serve: nothing was changed: {error}")
        return
    tell("facenorm serve: senders, retention, token and certificates were read again")
    if later:
        tell(f"facenorm serve: after a restart only: {', '.join(later)}")


def _announce(settings: Settings, node: Node, *, scores: bool) -> None:
    tell(
        f"facenorm serve: ready. {settings.node.ae_title} listens on {settings.node.host}:{node.port}; "
        f"status on http://{settings.status.host}:{node.status_port}/health; "
        f"data in {settings.data.folder.absolute()}"
    )
    if not settings.senders:
        tell("facenorm serve: nobody may send, because no [[senders]] are configured")
    if not settings.destinations:
        tell("facenorm serve: results are kept here, because no [[destinations]] are configured")
    if not scores:
        tell("facenorm serve: photographs are scored by `facenorm worker` alone")
