"""The JSON file of a run, written after each phase: a run that is cut off keeps what it has measured."""

import datetime
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from tierline_cli.bench.hardware import describe_hardware, revision


class Report:
    """Figures by phase. `complete` stands in the file once the last phase is in it."""

    def __init__(self, file: Path, sources: Path, sizes: Mapping[str, Any], console: Console) -> None:
        self._file = file
        self._console = console
        self._started = time.monotonic()
        self._document: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "revision": revision(sources),
            "hardware": describe_hardware(),
            "sizes": dict(sizes),
            "complete": False,
        }
        file.parent.mkdir(parents=True, exist_ok=True)

    def say(self, message: str) -> None:
        """Tell how far the run is."""
        self._console.print(f"{time.monotonic() - self._started:6.0f} s  {message}", highlight=False)

    def add(self, phase: str, figures: Mapping[str, Any]) -> None:
        """Write a phase's figures down."""
        self.say(f"{phase}: {json.dumps(figures)}")
        self._document |= figures
        self._write()

    def end(self) -> None:
        """Say that the run is whole."""
        self._document["complete"] = True
        self._write()

    def _write(self) -> None:
        self._file.write_text(json.dumps(self._document, indent=2) + "\n")
