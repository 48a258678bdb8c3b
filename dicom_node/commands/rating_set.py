"""`facenorm rating-set export|read`: faces to be rated blind, and the ratings back."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from dicom_node.commands.progress_bars import counted_photographs
from dicom_node.commands.scoring_options import Device, GeneratorName, ProfileName
from dicom_node.logs import configure_logs
from dicom_node.settings import SettingsError, load_settings

_FAILED, _UNUSABLE, _INTERRUPTED = 1, 2, 130

rating_set = typer.Typer(
    no_args_is_help=True,
    help="Export faces for blinded rating (photographs, normalized and random faces), and read the ratings "
    "back for `facenorm calibrate`.",
)


@rating_set.command()
def export(
    photo_dir: Annotated[
        Path, typer.Argument(metavar="PHOTO_DIR", exists=True, file_okay=False, help="The photographs.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="SET_DIR", help="A new folder for the raters; the key goes beside it.")
    ],
    details: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            exists=True,
            dir_okay=False,
            help="Which photographs, and of whom. Columns: photograph; where known person, diagnosis, sex, "
            "age, ancestry. Without it, every file of PHOTO_DIR.",
        ),
    ] = None,
    random_faces: Annotated[
        int | None,
        typer.Option("--random", min=0, help="Random generated faces; without it as many as photographs."),
    ] = None,
    shuffle_seed: Annotated[
        int | None, typer.Option(min=0, help="Repeats an order; without it, nobody can foretell it.")
    ] = None,
    profile: ProfileName = None,
    generator: GeneratorName = None,
    device: Device = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Write a shuffled set of faces: pictures, a sheet (CSV) and a web page to rate them on.

    Give raters SET_DIR, as a whole or only sheet.html, which holds the pictures and works without a network.
    Keep SET_DIR.key.csv to yourself: it says which picture is whose. The pictures show patients; treat the
    folder like the photographs. Interrupted with Ctrl-C, the same command goes on where it stopped.

    Exit status 0 when the set is written, 1 when it could not be made, 2 for wrong usage, 130 when
    interrupted.
    """
    from dicom_node.calibration_files import CalibrationError
    from dicom_node.rating_set_files import SetFolders, set_photographs
    from pipeline.csv_table import TableError

    folders = SetFolders(folder)
    given = {"profile": profile, "generator": generator, "device": device}
    try:
        settings = load_settings(config)
        configure_logs(settings)
        photographs = set_photographs(photo_dir, details)
    except (SettingsError, TableError) as error:
        _end(str(error), _UNUSABLE)
    if taken := folders.taken():
        _end(f"{taken} is there already; choose another SET_DIR, or remove it", _UNUSABLE)
    if all(photograph.person == photograph.name for photograph in photographs):
        _say(
            "Nothing says who is shown: each photograph counts as a person of its own. Where one person has "
            "several, name the person in --details; a calibration's errors are too good otherwise."
        )
    scoring = settings.scoring.model_copy(update={k: v for k, v in given.items() if v is not None})
    faces = len(photographs) if random_faces is None else random_faces
    # Imported here, because torch takes seconds and wrong usage should be told at once.
    from dicom_node.calibration_run import load_measuring
    from dicom_node.rating_set_export import export_set

    try:
        measuring = load_measuring(scoring, settings.quality.thresholds())
    except Exception as error:  # weights missing or damaged, no such device; nothing of a patient yet
        _end(str(error) or type(error).__name__, _UNUSABLE)
    seed = secrets.randbits(64) if shuffle_seed is None else shuffle_seed
    try:
        with counted_photographs("making faces", len(photographs) + faces) as begin:
            left_out = export_set(folders, photographs, faces, measuring, seed, begin)
    except CalibrationError as error:
        _end(str(error), _FAILED)
    except OSError as error:
        _end(f"{folders.folder}: a file cannot be written ({error.strerror})", _FAILED)
    except KeyboardInterrupt:
        _end(
            f"interrupted. Finished pictures are kept in {folders.unfinished}; the same command goes on from "
            "there.",
            _INTERRUPTED,
        )
    for place, reason in left_out:
        _say(f"{place}: left out. {reason}")
    _say(f"For the raters: {folders.folder} (or only its sheet.html). Keep to yourself: {folders.key}")


@rating_set.command()
def read(
    key: Annotated[
        Path, typer.Argument(metavar="KEY.csv", exists=True, dir_okay=False, help="The key of the set.")
    ],
    sheets: Annotated[
        list[Path],
        typer.Argument(
            metavar="SHEET.csv...", exists=True, dir_okay=False, help="Filled sheets, one or more of a rater."
        ),
    ],
    output: Annotated[
        Path, typer.Option(metavar="RATINGS.csv", dir_okay=False, help="Where the ratings go.")
    ] = Path("ratings.csv"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace ratings that are there.")] = False,
) -> None:
    """Put filled sheets and the key together into ratings for `facenorm calibrate`.

    Columns of a sheet: picture, rater, rating; an empty rater is the one named last above it. Empty ratings
    are left out and counted. Exit status 0 when the ratings are written, 2 where a sheet is wrong: its lines
    are named.
    """
    from dicom_node.filled_sheet import read_sheets, write_ratings
    from pipeline.csv_table import TableError

    if output.exists() and not overwrite:
        _end(f"{output} is there already; choose another --output, or say --overwrite", _UNUSABLE)
    try:
        filled = read_sheets(key, sheets)
        write_ratings(filled, output)
    except TableError as error:
        _end(str(error), _UNUSABLE)
    except OSError as error:
        _end(f"{output} cannot be written ({error.strerror})", _FAILED)
    pictures, raters = ({pair[n] for pair in filled.ratings} for n in (0, 1))
    _say(f"{len(filled.ratings)} ratings of {len(pictures)} pictures by {len(raters)} raters")
    if filled.empty:
        _say(f"{filled.empty} cells were left empty")
    if len(pictures) < len(filled.key):
        _say(f"{len(filled.key) - len(pictures)} pictures of the set were rated by nobody")
    typer.echo(str(output))
    _say(f"Next: facenorm calibrate {output} and the folder pictures of the set")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _end(text: str, status: int) -> NoReturn:
    _say(f"facenorm rating-set: {text}")
    raise typer.Exit(status) from None
