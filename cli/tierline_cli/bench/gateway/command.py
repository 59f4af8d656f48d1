"""`tierline bench gateway`, from options to the JSON file."""

import datetime
import json
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tierline.artifacts import ModelSourceError, resolve
from tierline_cli.bench.gateway.contenders import OURS, PEERS, Bench, Cores
from tierline_cli.bench.gateway.experiments import EXPERIMENTS, Experiment, Figures, Sizes
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_cli.errors import CommandFailed

SPARE_FILES: Final = 500


@dataclass(frozen=True, slots=True)
class GatewayBenchOptions:
    """What to run and on what; the model is only a tokenizer here. `only` names experiments, none for all."""

    json_file: Path
    model: str
    sources: Path
    cache_dir: Path
    only: Sequence[str] = ()
    peers: Sequence[str] = ()
    peer_pythons: Mapping[str, Path] = field(default_factory=dict)
    sizes: Sizes = field(default_factory=Sizes)


def run_gateway_bench(options: GatewayBenchOptions, console: Console) -> int:
    """Run the experiments and write the JSON file after each; returns 1 when a stream of ours was dropped.

    Raises `CommandFailed`.
    """
    experiments = _experiments(options.only)
    _check(options)
    cores = Cores.of_this_process()
    bench = Bench(cores, _model_path(options), options.cache_dir, dict(options.peer_pythons))
    document = _header(options, cores)
    # This process is the client; its children choose cores of their own.
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores.others)
    try:
        for experiment in experiments:
            _add(document, experiment(bench, [OURS, *options.peers], options.sizes, console.print))
            _write(document, options.json_file)
    finally:
        os.sched_setaffinity(0, before)
    _show(document, console)
    return int(document.get("streams", {}).get("dropped", 0) > 0)


def _experiments(only: Sequence[str]) -> list[Experiment]:
    unknown = [name for name in only if name not in EXPERIMENTS]
    if unknown:
        raise CommandFailed(f"--only {unknown[0]!r} is not known: use one of {', '.join(EXPERIMENTS)}")
    return [experiment for name, experiment in EXPERIMENTS.items() if name in only or not only]


def _check(options: GatewayBenchOptions) -> None:
    unknown = [name for name in options.peers if name not in PEERS]
    if unknown:
        raise CommandFailed(f"--peer {unknown[0]!r} is not known: use {', '.join(PEERS)}")
    needed, (_, most) = options.sizes.streams + SPARE_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise CommandFailed(f"{options.sizes.streams} streams need {needed} open files: raise `ulimit -n` from {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _model_path(options: GatewayBenchOptions) -> Path:
    try:
        return resolve(options.model, options.cache_dir)
    except ModelSourceError as error:
        raise CommandFailed(str(error)) from error


def _header(options: GatewayBenchOptions, cores: Cores) -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": revision(options.sources),
        "hardware": describe_hardware(),
        "cores": {"gateway": sorted(cores.measured), "clients_and_workers": sorted(cores.others)},
        "tokenizer": options.model,
        "sizes": asdict(options.sizes),
        "peers": {},
    }


def _add(document: dict[str, Any], found: Mapping[str, Figures]) -> None:
    """Put one experiment's figures where they belong: ours at the top, each peer's under its name."""
    for name, figures in found.items():
        place = document if name == OURS else document["peers"].setdefault(name, {})
        place.update(figures)


def _write(document: dict[str, Any], json_file: Path) -> None:
    document["hardware"]["load_1m_after"] = round(os.getloadavg()[0], 2)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(document, indent=2) + "\n")


def _show(document: Mapping[str, Any], console: Console) -> None:
    table = Table(
        "", "added p50/p99 ms", "streamed", "streams (dropped)", "bytes per stream", "token events per core s"
    )
    for name, found in {OURS: document, **document["peers"]}.items():
        table.add_row(name, *_cells(found))
    console.print(table)


def _cells(found: Mapping[str, Any]) -> list[str]:
    """Return a contender's row; what was not measured is left empty."""
    added, streams = found.get("added_latency_ms"), found.get("streams")
    busy = found.get("saturation")
    return [
        f"{added['p50']} / {added['p99']}" if added else "",
        f"{added['streamed']['p50']} / {added['streamed']['p99']}" if added else "",
        f"{streams['concurrent']} ({streams['dropped']})" if streams else "",
        str(found.get("bytes_per_stream", "")),
        str(busy["token_events_per_core_second"]) if busy else "",
    ]
