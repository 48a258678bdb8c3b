"""`facenorm calibrate RATINGS.csv PHOTO_DIR`: fit a regressor to a site's own ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dicom_node.commands.progress_bars import bar, counted_photographs
from dicom_node.commands.scoring_options import Device, GeneratorName, ProfileName, Seed
from dicom_node.logs import configure_logs
from dicom_node.settings import SettingsError, load_settings
from dicom_node.settings_sections import Scoring

if TYPE_CHECKING:
    from dicom_node.calibration_files import OutputFiles
    from dicom_node.calibration_run import Calibration
    from pipeline.kept_measurements import MeasuredPhotograph
    from pipeline.quality_thresholds import QualityThresholds
    from pipeline.ratings import RatingTable
    from pipeline.regression import FittedRegressor

_FAILED, _UNUSABLE, _INTERRUPTED = 1, 2, 130


def calibrate(
    ratings: Annotated[
        Path,
        typer.Argument(
            metavar="RATINGS.csv",
            exists=True,
            dir_okay=False,
            help="One line per photograph and rater. Columns: photograph, rater, rating (1 most deformed to "
            "7 most normal); where known person, diagnosis, sex, age, ancestry.",
        ),
    ],
    photo_dir: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTO_DIR", exists=True, file_okay=False, help="The folder that holds the photographs."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE.json",
            dir_okay=False,
            help="The regressor. Its card (.md), the calibration plot (.png) and the measured photographs "
            "(.measured) go beside it.",
        ),
    ] = Path("regressor.json"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a regressor, card or plot that is there.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="What reports call the regressor; at most 64 characters.")
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Settings that are tried for each of the six models.")
    ] = 30,
    split_seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Decides who is held out, and the search.")
    ] = 0,
    profile: ProfileName = None,
    generator: GeneratorName = None,
    device: Device = None,
    seed: Seed = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Fit a regressor to ratings of photographs, and say how far it errs on people it has not seen.

    Every photograph is measured as the node measures it (about as long as scoring it), then six models are
    compared. Interrupted with Ctrl-C, the same command goes on where it stopped. Name the person who is shown
    in the column "person" wherever one has several photographs: no person is then ever on both sides of a
    test. Afterwards set scoring.regressor to the file. What no option says comes from the settings' sections
    "scoring" and "quality". docs/calibration.md is the guide.

    Exit status 0 when the regressor is written, 1 when it could not be made, 2 for wrong usage or wrong
    ratings, 130 when interrupted.
    """
    from dicom_node.calibration_files import CalibrationError, OutputFiles
    from pipeline.csv_table import TableError
    from pipeline.ratings import read_ratings

    files = OutputFiles(output)
    try:
        given = {"profile": profile, "generator": generator, "device": device, "seed": seed}
        settings = load_settings(config)
        configure_logs(settings)
        scoring = _scoring(settings.scoring, {k: v for k, v in given.items() if v is not None})
        _check_output(files, name, overwrite)
        table = read_ratings(ratings, photo_dir)
    except (SettingsError, TableError, _UsageError) as error:
        _end(str(error), _UNUSABLE)
    try:
        _announce(table)
        _run(table, scoring, settings.quality.thresholds(), files, name, split_seed, trials)
    except _UsageError as error:
        _end(str(error), _UNUSABLE)
    except CalibrationError as error:
        _end(str(error), _FAILED)
    except OSError as error:
        _end(f"{output}: a file cannot be written beside it ({error.strerror})", _FAILED)
    except KeyboardInterrupt:
        _end(
            f"interrupted. Measured photographs are kept in {files.rows}; the same command goes on there.",
            _INTERRUPTED,
        )


class _UsageError(Exception):
    """What was asked for cannot be done; the text says why."""


def _end(text: str, status: int) -> NoReturn:
    typer.echo(f"facenorm calibrate: {text}", err=True)
    raise typer.Exit(status) from None


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _scoring(scoring: Scoring, given: Mapping[str, object]) -> Scoring:
    return scoring.model_copy(update=dict(given))


def _check_output(files: OutputFiles, name: str | None, overwrite: bool) -> None:
    if files.regressor.suffix != ".json":
        raise _UsageError(f"--output {files.regressor}: must end in .json")
    if not files.regressor.parent.is_dir():
        raise _UsageError(f"--output {files.regressor}: there is no folder {files.regressor.parent}; make it")
    there = [path for path in (files.regressor, files.text, files.plot) if path.exists()]
    if there and not overwrite:
        raise _UsageError(f"{there[0]} is there already; choose another --output, or say --overwrite")
    if name is not None and not (0 < len(name) <= 64 and name.isprintable() and "\\" not in name):
        # It goes into DICOM text: PS3.5 section 6.2, LO.
        raise _UsageError("--name: 1 to 64 printable characters and no backslash")


def _announce(table: RatingTable) -> None:
    people = len({photograph.person for photograph in table.photographs})
    _say(f"{len(table.photographs)} photographs of {people} people, {len(table.raters)} raters")
    if not table.names_people:
        _say(
            'There is no column "person": each photograph counts as a person of its own. Where one person '
            "has several photographs, add it; the errors are too good otherwise."
        )
    if table.simulated:
        _say("A rater is called simulated: the regressor will be marked synthetic.")


def _run(
    table: RatingTable,
    scoring: Scoring,
    quality: QualityThresholds,
    files: OutputFiles,
    name: str | None,
    split_seed: int,
    trials: int,
) -> None:
    from dicom_node.calibration_run import (
        Calibration,
        fit,
        load_measuring,
        measure_all,
        require_enough_people,
        write_files,
    )
    from pipeline.calibration_card import RegressorOrigin
    from pipeline.kept_measurements import KeptMeasurements
    from pipeline.regression_models import MODELS

    # Before the photographs are measured, which takes hours.
    require_enough_people(table)
    try:
        measuring = load_measuring(scoring, quality)
    except Exception as error:  # weights missing or damaged, no such device; nothing of a patient yet
        raise _UsageError(str(error) or type(error).__name__) from error
    kept = KeptMeasurements(files.rows, measuring.setup())
    with counted_photographs("measuring photographs", len(table.photographs)) as begin:
        rows = measure_all(table.photographs, measuring, kept, begin)
    _list_unscorable(table, rows)
    calibration = Calibration.of(table, rows)
    searched = sum(trials if model.searched else 1 for model in MODELS.values())
    with bar() as shown:
        task = shown.add_task("comparing models", total=searched)

        def tried(model: str) -> None:
            shown.update(task, advance=1, description=f"comparing models: {model}")

        fitted = fit(calibration, split_seed, trials, tried)
    origin = RegressorOrigin(
        name=name or f"site-{table.digest()[:8]}",
        generator=measuring.generator.name,
        generator_sha256=measuring.generator.sha256,
        profile=scoring.profile,
        synthetic=table.simulated,
    )
    card = write_files(files, calibration, fitted, origin, measuring.setup(), split_seed)
    _tell(card, fitted, files, calibration)


def _list_unscorable(table: RatingTable, rows: Sequence[MeasuredPhotograph]) -> None:
    for photograph, row in zip(table.photographs, rows, strict=True):
        if row.reason:
            _say(f"line {photograph.line}: left out ({row.reason}). {row.detail}")


def _tell(
    card: dict[str, Any], fitted: FittedRegressor, files: OutputFiles, calibration: Calibration
) -> None:
    from pipeline.calibration_card_text import with_interval

    held_out, paper = card["held_out"], card["paper"]
    _say(f"features: {', '.join(fitted.features)}; model: {fitted.model}")
    for label, key in (("R", "r"), ("MAE", "mae")):
        _say(
            f"{label} on {held_out['people']} held-out people: {with_interval(held_out[key])}; "
            f"the paper's, on other data: {paper[key]:.2f}"
        )
    typer.echo(str(files.regressor))
    _say(f"card: {files.text}, plot: {files.plot}")
    _say(f'To use it, set in the node\'s configuration: [scoring] regressor = "{files.regressor.resolve()}"')
