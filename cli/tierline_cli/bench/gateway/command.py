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
from tierline_cli.bench.gateway.experiments import Sizes, added_latency, many_streams, saturation
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_cli.errors import CommandFailed

SPARE_FILES: Final = 500


@dataclass(frozen=True, slots=True)
class GatewayBenchOptions:
    """What to run and on what; the model is only a tokenizer here."""

    json_file: Path
    model: str
    sources: Path
    cache_dir: Path
    peers: Sequence[str] = ()
    peer_pythons: Mapping[str, Path] = field(default_factory=dict)
    sizes: Sizes = field(default_factory=Sizes)


def run_gateway_bench(options: GatewayBenchOptions, console: Console) -> int:
    """Run the experiments and write the JSON file; returns 1 when a stream of ours was dropped.

    Raises `CommandFailed`.
    """
    _check(options)
    cores = Cores.of_this_process()
    bench = Bench(cores, _model_path(options), options.cache_dir, dict(options.peer_pythons))
    document = _header(options, cores)
    # This process is the client; its children choose cores of their own.
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores.others)
    try:
        _measure(document, bench, options, console)
    finally:
        os.sched_setaffinity(0, before)
    document["hardware"]["load_1m_after"] = round(os.getloadavg()[0], 2)
    options.json_file.parent.mkdir(parents=True, exist_ok=True)
    options.json_file.write_text(json.dumps(document, indent=2) + "\n")
    _show(document, console)
    return int(document["streams"]["dropped"] > 0)


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
    }


def _measure(document: dict[str, Any], bench: Bench, options: GatewayBenchOptions, console: Console) -> None:
    names = [OURS, *options.peers]
    latency = added_latency(bench, names, options.sizes, console.print)
    streams = {name: many_streams(bench, name, options.sizes, console.print) for name in names}
    busy = {name: saturation(bench, name, options.sizes, console.print) for name in names}
    figures = {name: _figures(latency[name], streams[name], busy[name]) for name in names}
    document |= figures.pop(OURS)
    document["peers"] = figures


def _figures(latency: Mapping[str, Any], streams: dict[str, Any], busy: Mapping[str, Any]) -> dict[str, Any]:
    """Return one contender's part; `added_latency_ms` at its top is that of answers that are not streamed."""
    per_stream = streams.pop("bytes_per_stream")
    return {
        "added_latency_ms": {
            **latency["whole"],
            "streamed": latency["streamed"],
            "first_token": latency["first_token"],
        },
        "cpu_ms_per_request": {
            "whole": latency["whole_cpu_ms_per_request"],
            "streamed": latency["streamed_cpu_ms_per_request"],
        },
        "streams": streams,
        "bytes_per_stream": per_stream,
        "saturation": dict(busy),
    }


def _show(document: Mapping[str, Any], console: Console) -> None:
    table = Table(
        "", "added p50/p99 ms", "streamed", "streams (dropped)", "bytes per stream", "token events per core s"
    )
    for name, found in {OURS: document, **document["peers"]}.items():
        added = found["added_latency_ms"]
        table.add_row(
            name,
            f"{added['p50']} / {added['p99']}",
            f"{added['streamed']['p50']} / {added['streamed']['p99']}",
            f"{found['streams']['concurrent']} ({found['streams']['dropped']})",
            str(found["bytes_per_stream"]),
            str(found["saturation"]["token_events_per_core_second"]),
        )
    console.print(table)
