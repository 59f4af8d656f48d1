"""Visible progress of a command that takes minutes: numbered steps, live on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status


class Steps:
    """Announces numbered steps and their parts; a `tierline_devcluster.progress.Reporter` for the parts."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._number = 0
        self._status: Status | None = None
        self._title = ""
        self.current = ""

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show the block as the next step; on an exception the step is marked as the one that failed."""
        self._number += 1
        self.current = title
        self._title = f"[bold]\\[{self._number}/{self._total}][/bold] {title}"
        started = time.monotonic()
        self._open()
        try:
            yield
        except BaseException:
            self._close(f"[red]✗[/red] {self._title} [red]failed after {time.monotonic() - started:.1f} s[/red]")
            raise
        self._close(f"[green]✓[/green] {self._title} [dim]{time.monotonic() - started:.1f} s[/dim]")

    def tell(self, text: str) -> None:
        """Print one line below the current step."""
        self._console.print(f"      {text}", highlight=False, soft_wrap=True)

    def begin(self, title: str) -> None:
        """Show a part of the current step."""
        if self._status is not None:
            self._status.update(f"{self._title}: {title}")

    def end(self, title: str, ok: bool) -> None:
        """Keep a part that failed on the screen."""
        if not ok:
            self.tell(f"[red]failed:[/red] {title}")

    def _open(self) -> None:
        if self._console.is_terminal:
            self._status = self._console.status(self._title)
            self._status.start()
        else:
            self._console.print(f"  {self._title} ...", highlight=False, soft_wrap=True)

    def _close(self, line: str) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
        self._console.print(line, highlight=False, soft_wrap=True)
