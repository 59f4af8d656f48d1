"""Figures of `tierline top`: sums over gateways, rates between readings, quantiles as Prometheus has them."""

import io
from dataclasses import dataclass

import pytest
from rich.console import Console

from tierline_cli.errors import CommandFailed
from tierline_cli.live.pods import Answer
from tierline_cli.live.readings import Change, read
from tierline_cli.live.top import FleetPorts, Watch
from tierline_cli.live.top_view import top_view

FIRST = """\
# TYPE tierline_gateway_requests counter
tierline_gateway_requests_total{tier="gold",tenant="acme",outcome="stop"} 10
tierline_gateway_requests_total{tier="gold",tenant="zeta",outcome="stop"} 2
# TYPE tierline_billed_output_tokens counter
tierline_billed_output_tokens_total{tenant="acme",billing_tier="paid"} 100
# TYPE tierline_gateway_queue_requests gauge
tierline_gateway_queue_requests{tier="gold"} 3
# TYPE tierline_ttft_seconds histogram
tierline_ttft_seconds_bucket{tier="gold",tenant="acme",le="0.1"} 10
tierline_ttft_seconds_bucket{tier="gold",tenant="acme",le="0.2"} 10
tierline_ttft_seconds_bucket{tier="gold",tenant="acme",le="+Inf"} 10
"""
SECOND = FIRST.replace('"acme",outcome="stop"} 10', '"acme",outcome="stop"} 30').replace("} 100", "} 900")
SECOND = SECOND.replace('le="0.2"} 10', 'le="0.2"} 14').replace('le="+Inf"} 10', 'le="+Inf"} 14')
WORKER = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 5\nvllm:kv_cache_usage_perc 0.25\n"


def test_rates_are_between_two_readings() -> None:
    change = Change(read([SECOND, SECOND], 12.0), read([FIRST, FIRST], 10.0))
    assert change.per_second("tenant", "tierline_gateway_requests_total") == {"acme": 20.0, "zeta": 0.0}
    assert change.now.by("tier", "tierline_gateway_queue_requests") == {"gold": 6.0}


def test_a_counter_that_began_anew_is_no_negative_rate() -> None:
    change = Change(read([FIRST], 12.0), read([SECOND], 10.0))
    assert change.per_second("tenant", "tierline_billed_output_tokens_total") == {"acme": 0.0}


def test_quantiles_of_what_came_between() -> None:
    change = Change(read([SECOND], 12.0), read([FIRST], 10.0))
    assert change.quantile(0.5, "tier", "gold", "tierline_ttft_seconds") == pytest.approx(0.15)
    assert Change(read([FIRST], 1.0)).quantile(0.5, "tier", "gold", "tierline_ttft_seconds") == pytest.approx(0.05)
    assert change.quantile(0.5, "tier", "silver", "tierline_ttft_seconds") is None


@dataclass
class FakePort:
    title: str
    texts: list[str]

    def get(self, path: str) -> Answer:
        assert path == "/metrics"
        if not self.texts:
            raise CommandFailed("gone")
        return Answer(200, self.texts.pop(0))


def test_the_picture_of_a_fleet() -> None:
    ports = FleetPorts(
        "demo/chat",
        [FakePort("gw-0", [FIRST, SECOND])],
        [FakePort("w-0", [WORKER, WORKER]), FakePort("w-1", [])],
    )
    seconds = iter(range(100))
    watch = Watch(lambda: [ports], clock_s=lambda: float(next(seconds)))
    watch.look()
    output = io.StringIO()
    Console(file=output, width=100).print(top_view(watch.look()))
    lines = output.getvalue().splitlines()
    assert lines[0] == "Fleet demo/chat"
    assert "0 run, 3 wait" in lines[1]
    assert any(line.split() == ["acme", "10.0", "400", "0"] for line in lines), lines
    assert any(line.split()[:4] == ["w-0", "5", "0", "25%"] for line in lines), lines
    assert "did not answer: w-1" in output.getvalue()


def test_each_model_of_a_shared_gateway_has_its_own_lines() -> None:
    shared = """# TYPE tierline_gateway_running_requests gauge
tierline_gateway_running_requests{model="chat"} 2
tierline_gateway_running_requests{model="code"} 1
# TYPE tierline_gateway_queue_requests gauge
tierline_gateway_queue_requests{model="code",tier="gold"} 4
"""
    watch = Watch(lambda: [FleetPorts("demo/chat", [FakePort("gw-0", [shared])])], clock_s=lambda: 0.0)
    output = io.StringIO()
    Console(file=output, width=100).print(top_view(watch.look()))
    lines = output.getvalue().splitlines()
    assert lines[:3] == ["Fleet demo/chat", "Model chat", lines[2]]
    assert "2 run, 0 wait" in lines[2]
    code = lines[lines.index("Model code") :]
    assert "1 run, 4 wait" in code[1]
    assert any(line.split()[:2] == ["gold", "4"] for line in code)
