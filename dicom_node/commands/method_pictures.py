"""`facenorm losses` and `facenorm iterates`: pictures of how a photograph is normalized, as in the paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.output_folder import unwritable
from dicom_node.commands.progress_bars import bar
from dicom_node.commands.scoring_options import Device, GeneratorName, Seed
from dicom_node.logs import configure_logs
from dicom_node.picture_sheet import Tile, draw_sheet, save_sheet
from dicom_node.settings import SettingsError, load_settings
from models.cache import WeightsMissingError
from pipeline.rejection import UnscorablePhotographError
from reports.notices import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from torch import Tensor

    from models.generator import Generator
    from models.lpips import Lpips
    from pipeline.profile import Profile

_REJECTED, _UNUSABLE = 1, 2

Photo = Annotated[
    Path,
    typer.Argument(metavar="PHOTO", exists=True, dir_okay=False, readable=True, help="JPEG, PNG or DICOM."),
]
Output = Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, help="Where to write the PNG.")]
ProfileName = Annotated[str, typer.Option(help="Whose lambdas, rate and start; a profile of Adam's.")]
Size = Annotated[int, typer.Option(min=32, max=1024, help="Pixels of a picture, and of the metric.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is normalized, and with what. x_raw: (3, H, W) in [-1, 1]; mask: (H, W)."""

    generator: Generator
    metric: Lpips
    x_raw: Tensor
    mask: Tensor
    profile: Profile
    seed: int


def losses(
    photograph: Photo,
    output: Output = Path("losses.png"),
    profile: ProfileName = "reference",
    steps: Annotated[int, typer.Option(min=1, help="Iterations for each of the nine.")] = 100,
    size: Size = 256,
    vgg16: Annotated[bool, typer.Option("--vgg16", help="LPIPS on VGG-16 instead of AlexNet.")] = False,
    generator: GeneratorName = None,
    device: Device = None,
    seed: Seed = None,
    config: Config = None,
) -> None:
    """Normalize a photograph under each of the nine pairs of losses, and write the grid of pictures.

    Rows: pixel, structural and perceptual similarity; columns: mean absolute, squared and exponential error
    to the average. The final terms stand below each picture and on standard output. Exit status 1 for a
    photograph that cannot be normalized, 2 for wrong usage.
    """
    with _told("losses"):
        _check_folder(output)
        subject = _subject(photograph, profile, steps, size, generator, device, seed, config)
        from models.lpips import load_metric
        from pipeline.loss_grid import loss_grid

        trunk = load_metric(subject.generator.device, "vgg16") if vgg16 else None
        with _progress(9 * steps) as told:
            cells = list(
                loss_grid(
                    subject.generator,
                    subject.metric,
                    subject.x_raw,
                    subject.mask,
                    subject.profile,
                    subject.seed,
                    trunk,
                    told,
                )
            )
        tiles = [
            Tile(
                cell.picture,
                (
                    f"{cell.similarity}, {cell.averageness}".replace("_", " "),
                    f"L_S {cell.similarity_term:.4f}  L_A {cell.averageness_term:.4f}",
                ),
            )
            for cell in cells
        ]
        rows = [tiles[n : n + 3] for n in range(0, 9, 3)]
        weights = f"lambda_sim {subject.profile.lambda_sim:g}, lambda_avg {subject.profile.lambda_avg:g}"
        title = f"Nine pairs of losses: {steps} steps, {weights}"
        save_sheet(draw_sheet(title, rows, RESEARCH_USE_NOTICE), output)
        for cell in cells:
            typer.echo(
                f"{cell.similarity:17s}{cell.averageness:18s}L_S {cell.similarity_term:.4f}  "
                f"L_A {cell.averageness_term:.4f}  total {cell.total:.4f}"
            )
        typer.echo(f"Written: {output}")


def iterates(
    photograph: Photo,
    output: Output = Path("iterates.png"),
    profile: ProfileName = "paper",
    at: Annotated[str, typer.Option(metavar="N,N,...", help="After which steps.")] = "0,10,50,100,500",
    size: Size = 256,
    generator: GeneratorName = None,
    device: Device = None,
    seed: Seed = None,
    config: Config = None,
) -> None:
    """Normalize a photograph and write a strip of pictures: the iterates after 0, 10, 50, 100 and 500 steps.

    The run is as long as the last of them. Exit status 1 for a photograph that cannot be normalized, 2 for
    wrong usage.
    """
    with _told("iterates"):
        _check_folder(output)
        shown = _steps(at)
        subject = _subject(photograph, profile, max(1, *shown), size, generator, device, seed, config)
        from pipeline.iterate_strip import iterate_strip
        from pipeline.single_descent import SingleDescent

        descent = SingleDescent(
            subject.generator, subject.metric, subject.x_raw, subject.mask, subject.profile
        )
        with _progress(subject.profile.steps) as told:
            strip = iterate_strip(subject.generator, descent, shown, subject.seed, size, told)
        tiles = [
            Tile(
                one.picture,
                (
                    f"after {one.step} steps",
                    f"L_S {one.similarity_term:.4f}  L_A {one.averageness_term:.4f}",
                ),
            )
            for one in strip
        ]
        title = f"Iterates of a normalization: profile {profile}, {subject.generator.name}"
        save_sheet(draw_sheet(title, [tiles], RESEARCH_USE_NOTICE), output)
        for one in strip:
            terms = f"L_S {one.similarity_term:.4f}  L_A {one.averageness_term:.4f}"
            typer.echo(f"after {one.step:4d} steps  {terms}")
        typer.echo(f"Written: {output}")


def _check_folder(output: Path) -> None:
    """Raise ValueError where no picture can be written; before it is made, which takes minutes."""
    if trouble := unwritable(output):
        raise ValueError(trouble)


def _steps(text: str) -> list[int]:
    try:
        steps = sorted({int(word) for word in text.split(",")})
    except ValueError as error:
        raise ValueError("--at takes whole numbers with commas between them") from error
    if steps[0] < 0:
        raise ValueError("--at takes no negative number of steps")
    return steps


def _subject(
    photograph: Path,
    profile: str,
    steps: int,
    size: int,
    generator: str | None,
    device: str | None,
    seed: int | None,
    config: Path | None,
) -> _Subject:
    settings = load_settings(config)
    configure_logs(settings)
    # Imported here, because torch takes seconds and wrong usage should be told at once.
    import torch

    from models.generator import choose_device, load_generator
    from models.generator_card import GeneratorError
    from models.lpips import load_metric
    from pipeline.face import load_face_finder
    from pipeline.features import to_tensor
    from pipeline.measurement import FaceMeasurer
    from pipeline.photograph import read_photograph
    from pipeline.profile import Profile
    from pipeline.stopwatch import Stopwatch

    chosen = settings.scoring
    loaded = load_generator(generator or chosen.generator, choose_device(device or chosen.device))
    if profile not in loaded.card.profiles:
        raise GeneratorError(f"--profile: {profile!r} is none of {', '.join(sorted(loaded.card.profiles))}")
    card = Profile.from_card(loaded.card.profiles[profile])
    # A narrower profile of one candidate: what is drawn and compared is what is shown.
    wanted = replace(
        card,
        metric_resolution=size,
        draw_resolution=0,
        candidates=1,
        candidates_from="starts",
        steps=steps,
    )
    metric = load_metric(loaded.device)
    seed = chosen.seed if seed is None else seed
    measurer = FaceMeasurer(loaded, metric, load_face_finder(), wanted, seed)
    face = measurer.locate(read_photograph(photograph), Stopwatch())
    x_raw = to_tensor(face.picture, loaded.device)
    return _Subject(loaded, metric, x_raw, torch.from_numpy(face.mask).to(loaded.device), wanted, seed)


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Turn what may go wrong into one line and an exit status; no line holds patient data."""
    try:
        yield
    except UnscorablePhotographError as error:
        typer.echo(f"facenorm {command}: {error.rejection.detail}", err=True)
        raise typer.Exit(_REJECTED) from None
    except OSError as error:
        typer.echo(f"facenorm {command}: {error.strerror or type(error).__name__}", err=True)
        raise typer.Exit(_UNUSABLE) from None
    except (SettingsError, WeightsMissingError, ValueError) as error:  # of a profile, a generator, a device
        typer.echo(f"facenorm {command}: {error}", err=True)
        raise typer.Exit(_UNUSABLE) from None


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int, int], None]]:
    """Show one bar on standard error over all runs, each of which tells its own steps."""
    with bar(transient=True) as shown:
        task = shown.add_task("steps", total=steps)
        yield lambda _done, _of: shown.advance(task)
