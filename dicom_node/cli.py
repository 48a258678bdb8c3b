"""The command `facenorm`.

Each command lives in a module of its own under `dicom_node.commands` and is imported only when it
is called, so that `facenorm --help` need not wait for torch or DBOS. To add one, write the module and
name it in `COMMANDS`: `"name": Command("dicom_node.commands.name:attribute", "one line for --help")`.
The attribute is either a plain function with typer annotations, or a `typer.Typer` for a group of commands.

Exit status: 0 success, 1 a command's own failure (`raise typer.Exit(1)`), 2 wrong usage.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is found (`module:attribute`) and what `--help` says about it."""

    target: str
    summary: str

    def load(self) -> Any:  # noqa: ANN401 -- a click command; typer does not export its base class
        """Import the module and return the click command."""
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_group(found)
        app = typer.Typer(add_completion=False)
        app.command()(found)
        return typer.main.get_command(app)


COMMANDS = {
    "demo": Command("dicom_node.commands.demo:demo", "Show the whole loop on this machine."),
    "serve": Command("dicom_node.commands.serve:serve", "Run the node."),
    "worker": Command("dicom_node.commands.worker:worker", "Score beside a node, on PostgreSQL."),
    "migrate": Command("dicom_node.commands.migrate:migrate", "Bring the database's tables up to date."),
    "import": Command(
        "dicom_node.commands.importing:import_node", "Move a node's history from SQLite to PostgreSQL."
    ),
    "score": Command("dicom_node.commands.score:score", "Score photographs: JPEG, PNG or DICOM files."),
    "calibrate": Command(
        "dicom_node.commands.calibrate:calibrate", "Fit a regressor to a site's own ratings."
    ),
    "pairs": Command("dicom_node.commands.pairs:pairs", "Compare photographs before and after a treatment."),
    "rating-set": Command(
        "dicom_node.commands.rating_set:rating_set", "Export faces for blinded rating; read the ratings back."
    ),
    "losses": Command(
        "dicom_node.commands.method_pictures:losses",
        "Draw a photograph's norm under the paper's nine losses.",
    ),
    "iterates": Command(
        "dicom_node.commands.method_pictures:iterates", "Draw how a photograph's norm comes about."
    ),
    "history": Command("dicom_node.commands.history:history", "Print a patient's scores over time."),
    "jobs": Command("dicom_node.commands.jobs:jobs", "List what is being scored and sent."),
    "config": Command("dicom_node.commands.config:config", "Look at the settings."),
    "backup": Command("dicom_node.commands.backup:backup", "Write database and files into one archive."),
    "restore": Command("dicom_node.commands.backup:restore", "Unpack an archive into an empty data folder."),
    "check": Command(
        "dicom_node.commands.check:check", "Hold files against database, and repair what can be repaired."
    ),
    "rescore": Command(
        "dicom_node.commands.rescore:rescore", "Score a patient's whole history with the current model."
    ),
    "patient": Command(
        "dicom_node.commands.patient:patient", "Merge patients as the PACS did, or erase one."
    ),
    "retry": Command("dicom_node.commands.retry:retry", "Try again what was given up."),
    "models": Command("dicom_node.commands.models:models", "List, fetch and verify the weights."),
}


_OUTPUT_LOST = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}


class _LazyGroup(TyperGroup):
    """Shows the placeholders in `--help`, and puts the real command in place of the one called."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as the base class has it
        """Run the command called; output that cannot be written ends it with status 1 and a line."""
        if sys.stdout is None:  # who called has closed it
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 -- open until the end
        for stream in (sys.stdout, sys.stderr):
            # A file's name may hold what the terminal's encoding lacks; that must not cost what was done.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                # Here, since at the end of the interpreter it would be too late to say anything.
                sys.stdout.flush()
        except OSError as error:
            if error.filename is not None or error.errno not in _OUTPUT_LOST:
                raise
            _give_up_output(error)
            sys.exit(1)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return (name, command, remaining arguments); wrong names end with exit status 2."""
        name, command, remaining = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = COMMANDS[name].load()
            command.name = name
        return name, command, remaining


def _give_up_output(error: OSError) -> None:
    """Say why, unless the reader has just gone away, and let nothing try to write the rest."""
    with suppress(OSError):
        if error.errno != errno.EPIPE:
            typer.echo(f"facenorm: the output cannot be written ({error.strerror})", err=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):  # not a file, where a test has taken its place
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facenorm {version('facenorm')}")
        raise typer.Exit


def _placeholder() -> None:
    raise NotImplementedError("the group replaces this before it is called")


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A DICOM node that scores how far a photographed face is from its own norm.",
)


@app.callback()
def facenorm(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Score how far a photographed face is from its own norm, as a DICOM node."""


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.summary)(_placeholder)
