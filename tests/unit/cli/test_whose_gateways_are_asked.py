"""A fleet's model may be served by another fleet's gateway: all of the namespace are asked, the fleet's own first."""

from dataclasses import dataclass

import pytest

from tierline_cli.errors import CommandFailed
from tierline_cli.live import explain


@dataclass(frozen=True)
class Pod:
    title: str
    fleet: str


PODS = (Pod("chat-0", "chat"), Pod("code-0", "code"), Pod("chat-1", "chat"))


@pytest.mark.parametrize(
    ("fleet", "asked"),
    [
        ("", ["chat-0", "code-0", "chat-1"]),
        ("code", ["code-0", "chat-0", "chat-1"]),
        ("embed", ["chat-0", "code-0", "chat-1"]),
    ],
)
def test_the_fleets_own_gateways_are_asked_first(monkeypatch: pytest.MonkeyPatch, fleet: str, asked: list[str]) -> None:
    def ports_of(_component: str, _port: int, _namespace: str, wanted: str) -> list[Pod]:
        return [pod for pod in PODS if wanted in {"", pod.fleet}]

    monkeypatch.setattr(explain, "ports_of", ports_of)
    assert [port.title for port in explain.gateway_ports("", "demo", fleet)] == asked


def test_without_any_gateway_the_flags_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "ports_of", lambda *_: [])
    with pytest.raises(CommandFailed, match="name --namespace and --fleet, or --gateway URL"):
        explain.gateway_ports("", "demo", "embed")
