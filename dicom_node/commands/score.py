"""`facenorm score PHOTO...`: score photographs without a service."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import TextColumn

from dicom_node.commands.progress_bars import bar
from dicom_node.commands.scoring_options import Device, GeneratorName, ProfileName, RegressorFile, Seed
from dicom_node.logs import configure_logs
from dicom_node.picture_folder import PictureFolder
from dicom_node.score_output import ScoredFile, as_table
from dicom_node.score_output import as_json as json_object
from dicom_node.settings import Settings, SettingsError, load_settings
from pipeline.result import Provenance, Rejection, RejectionReason

if TYPE_CHECKING:
    from pipeline.scoring import PhotographScorer

_REJECTED, _UNUSABLE, _INTERRUPTED = 1, 2, 130


class _UnusableError(Exception):
    """The photographs cannot be scored as asked; the text says why and holds no patient data."""


@dataclass(slots=True)
class _Run:
    """What came of the photographs so far, and the exit status and reason where not all had their turn."""

    scored: list[ScoredFile] = field(default_factory=list)
    stopped: tuple[int, str] | None = None


def score(
    photographs: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO", exists=True, dir_okay=False, readable=True, help="JPEG, PNG or DICOM files."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Write each face here as PNG files: aligned, masked, normalized, and so on.",
        ),
    ] = None,
    profile: ProfileName = None,
    generator: GeneratorName = None,
    regressor: RegressorFile = None,
    device: Device = None,
    seed: Seed = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            readable=True,
            help="68 points that a person placed, for one PHOTO; without it, PHOTO.landmarks.json if there.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Score photographs from 1 (most deformed) to 7 (most normal).

    Exit status 0 when every photograph was scored, 1 when some were rejected, could not be read or have
    pictures that could not be written, 2 for wrong usage, 130 when interrupted with Ctrl-C; what was scored
    until then is printed. What no option says comes from the settings' sections "scoring" and "quality".
    """
    given = {
        "profile": profile,
        "generator": generator,
        "regressor": regressor,
        "device": device,
        "seed": seed,
    }
    try:
        photographs = _without_landmarks(photographs)
        placed = _placed_landmarks(photographs, landmarks)
        settings = load_settings(config)
        configure_logs(settings)
        folder = _picture_folder(output_dir)
        scorer = _load(settings, {key: value for key, value in given.items() if value is not None})
    except (SettingsError, _UnusableError) as error:
        typer.echo(f"facenorm score: {error}", err=True)
        raise typer.Exit(_UNUSABLE) from None
    run = _score_all(scorer, photographs, folder, placed)
    _print(run.scored, scorer.provenance, as_json=as_json)
    if run.stopped:
        status, reason = run.stopped
        typer.echo(f"facenorm score: {reason}", err=True)
        raise typer.Exit(status)
    if any(isinstance(one.result, Rejection) or one.trouble for one in run.scored):
        raise typer.Exit(_REJECTED)


def _print(scored: Sequence[ScoredFile], provenance: Provenance, *, as_json: bool) -> None:
    if as_json:
        objects = (json.dumps(json_object(one, provenance), allow_nan=False) for one in scored)
        typer.echo("[" + ",\n".join(objects) + "]")
    elif scored:
        Console().print(as_table(scored, provenance))
    for one in scored:
        if one.trouble:
            typer.echo(f"facenorm score: {one.photograph}: {one.trouble}", err=True)


def _picture_folder(folder: Path | None) -> PictureFolder | None:
    try:
        return None if folder is None else PictureFolder(folder)
    except OSError as error:
        raise _UnusableError(f"--output-dir {folder}: {error.strerror}") from error


def _load(settings: Settings, given: dict[str, object]) -> PhotographScorer:
    # Imported here, because torch takes seconds and wrong usage should be told at once.
    from pipeline.scoring import build_scorer

    chosen = settings.scoring.model_copy(update=given)
    try:
        return build_scorer(
            chosen.generator,
            chosen.profile,
            chosen.device,
            chosen.regressor,
            chosen.seed,
            quality=settings.quality.thresholds(),
        )
    except Exception as error:  # weights missing or damaged, no such device; nothing of a patient yet
        raise _UnusableError(str(error) or type(error).__name__) from error


def _without_landmarks(files: Sequence[Path]) -> list[Path]:
    """Return the files but those of landmarks, which a shell names for `folder/*`, too."""
    from pipeline.supplied_landmarks import LANDMARKS_SUFFIX

    photographs = [file for file in files if not file.name.endswith(LANDMARKS_SUFFIX)]
    if not photographs:
        raise _UnusableError(f"a file *{LANDMARKS_SUFFIX} goes beside a photograph and is none")
    return photographs


def _placed_landmarks(photographs: Sequence[Path], given: Path | None) -> list[Path | None]:
    """Return for each photograph the file of landmarks that a person placed: the one given, or beside it."""
    from pipeline.supplied_landmarks import landmarks_beside

    if given is None:
        return [landmarks_beside(photograph) for photograph in photographs]
    if len(photographs) != 1:
        raise _UnusableError(
            "--landmarks goes with one photograph; for several, put PHOTO.landmarks.json beside each"
        )
    return [given]


def _score_all(
    scorer: PhotographScorer,
    photographs: Sequence[Path],
    folder: PictureFolder | None,
    placed: Sequence[Path | None],
) -> _Run:
    """Score one after the other; whatever ends it early costs none of those that are finished."""
    run = _Run()
    try:
        with _progress(len(photographs)) as begin:
            for photograph, landmarks in zip(photographs, placed, strict=True):
                run.scored.append(_score_one(scorer, photograph, landmarks, folder, begin()))
    except KeyboardInterrupt:
        done = f"interrupted after {len(run.scored)} of {len(photographs)} photographs"
        run.stopped = _INTERRUPTED, done
    except _UnusableError as error:
        run.stopped = _UNUSABLE, str(error)
    return run


def _score_one(
    scorer: PhotographScorer,
    photograph: Path,
    landmarks: Path | None,
    folder: PictureFolder | None,
    progress: Callable[[int, int], None],
) -> ScoredFile:
    """Score one photograph; trouble with its files is told in what is returned, so that the others go on."""
    try:
        result = scorer.score_file(photograph, progress, landmarks)
    except OSError as error:
        detail = (
            f"The file cannot be read ({_reason(error)}); see that it is where it should be, and readable."
        )
        return ScoredFile(photograph, Rejection(RejectionReason.UNREADABLE_PIXELS, detail))
    except Exception as error:  # its text may quote what the file holds
        raise _UnusableError(f"{photograph}: failed with {type(error).__name__}") from error
    if isinstance(result, Rejection):
        return ScoredFile(photograph, result)
    if folder is None:
        return ScoredFile(photograph, result.score)
    try:
        return ScoredFile(photograph, result.score, folder.write(photograph, result.images))
    except OSError as error:
        trouble = f"its pictures could not be written ({_reason(error)})"
        return ScoredFile(photograph, result.score, trouble=trouble)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


@contextmanager
def _progress(count: int) -> Iterator[Callable[[], Callable[[int, int], None]]]:
    """Show one bar on standard error; the function that is given begins the next photograph's steps."""
    with bar(TextColumn("steps")) as shown:
        task = shown.add_task("", total=None, visible=False)
        numbers = itertools.count(1)

        def begin() -> Callable[[int, int], None]:
            shown.reset(task, total=None, visible=True, description=f"photograph {next(numbers)} of {count}")
            return lambda done, steps: shown.update(task, completed=done, total=steps)

        yield begin
