"""Progress of long steps: one line a step, as a live display on a terminal and as plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Reporter(Protocol):
    """Hears about steps; `begin` and `end` are called once a step; steps may overlap."""

    def begin(self, title: str) -> None: ...

    def end(self, title: str, ok: bool) -> None: ...


class Silent:
    """A reporter for tests and libraries."""

    def begin(self, title: str) -> None:
        """Say nothing."""

    def end(self, title: str, ok: bool) -> None:
        """Say nothing."""


@contextmanager
def step(reporter: Reporter, title: str) -> Iterator[None]:
    """Report the block as one step, also when it fails."""
    reporter.begin(title)
    try:
        yield
    except BaseException:
        reporter.end(title, ok=False)
        raise
    reporter.end(title, ok=True)


class Display:
    """A rich display of steps; use as a context manager around the whole run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, title: str) -> None:
        self._tasks[title] = self._progress.add_task(title, total=None)
        if not self._console.is_terminal:
            self._console.print(f"{title} ...")

    def end(self, title: str, ok: bool) -> None:
        task = self._tasks.pop(title)
        if ok:
            self._progress.update(task, total=1, completed=1)
        else:
            if not self._console.is_terminal:
                self._console.print(f"failed: {title}")
            self._progress.update(task, description=f"[red]failed:[/red] {title}")
            self._progress.stop_task(task)
