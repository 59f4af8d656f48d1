"""How a command that could not do its work ends: its reason on standard error, and the exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from tierline_cli.errors import CommandFailed
from tierline_devcluster.errors import DevclusterError

_errors = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def told_as(command: str) -> Iterator[None]:
    """Run the block as `command`; what fails in it is told under that name."""
    try:
        yield
    except (CommandFailed, DevclusterError) as error:
        _errors.print(f"[red]{command}:[/red] {error}")
        raise typer.Exit(1) from error
