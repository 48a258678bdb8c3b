"""The bars that commands show on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Steps = Callable[[int, int], None]
"""Told how many steps are done, and of how many."""


def bar(*beside: TextColumn, transient: bool = False, only_on_a_terminal: bool = False) -> Progress:
    """Return a bar that counts; beside: what stands between the count and the time."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *beside,
        TimeElapsedColumn(),
        console=console,
        transient=transient,
        disable=only_on_a_terminal and not console.is_terminal,
    )


@contextmanager
def counted_files(doing: str) -> Iterator[Steps]:
    """Show a bar of files, none but on a terminal, and give what is to be told how many are done."""
    with bar(transient=True, only_on_a_terminal=True) as shown:
        task = shown.add_task(doing, total=None)
        yield lambda done, of: shown.update(task, completed=done, total=of)


@contextmanager
def counted_photographs(doing: str, count: int) -> Iterator[Callable[[], Steps]]:
    """Show photographs done and, beside, the steps of the next; the function that is given begins them."""
    with bar(TextColumn("{task.fields[steps]}")) as shown:
        task = shown.add_task(doing, total=count, steps="")
        done = iter(range(count))

        def begin() -> Steps:
            shown.update(task, completed=next(done), steps="")
            return lambda step, steps: shown.update(task, steps=f"step {step} of {steps}")

        yield begin
        shown.update(task, completed=count, steps="")
