import io
import json
from dataclasses import dataclass

import pytest
from planning_world import PlanningWorld
from rich.console import Console

from tierline_cli.errors import CommandFailed
from tierline_cli.live.planning import explain_fleet
from tierline_cli.live.pods import Answer


@dataclass
class Told:
    """A port that answers the same to everything."""

    status: int
    text: str
    title: str = "ops/operator"

    def get(self, path: str) -> Answer:
        assert path == "/debug/planning/demo/chat"
        return Answer(self.status, self.text)


async def account() -> Told:
    world = PlanningWorld()
    world.tier()
    world.node("n1", supply="spot", zone="b")
    world.fleet("chat")
    await world.look(times=6, chat=26.0)
    return Told(200, json.dumps(world.planner.account_of("demo", "chat")))


def printed(part, port, as_json=False) -> str:
    out = io.StringIO()
    standby = Told(404, "does not lead, or knows no such fleet")
    console = Console(file=out, width=160, highlight=False)
    explain_fleet(part, "demo", "chat", [standby, port], as_json=as_json, console=console)
    return out.getvalue()


async def test_each_part_of_the_leaders_account_reads_as_text_and_as_json():
    port = await account()
    scale = printed("scale", port)
    assert "requests/s came" in scale
    assert "chat-main" in scale
    assert "Scaled=True (FollowsLoad)" in printed("fleet", port)
    placement = printed("placement", port)
    assert "reclaims/h" in placement
    assert "spot" in placement
    assert json.loads(printed("scale", port, as_json=True))["pools"][0]["name"] == "chat-main"


async def test_who_waits_for_its_turn_reads_after_whom():
    world = PlanningWorld()
    world.tier()
    world.node("n1", gpus=1)
    for name in ("chat", "apt"):
        world.fleet(name, low=0, replicas=0)
    world.signals.queued = 4.0
    await world.look(times=2)
    told = Told(200, json.dumps(world.planner.account_of("demo", "chat")))
    assert "chat-main may have 0 until its turn comes, after apt-main" in printed("scale", told)


async def test_a_fleet_without_figures_says_why():
    world = PlanningWorld()
    world.tier()
    world.fleet("chat")
    world.signals.silent = "asleep"
    await world.look(times=10)
    told = printed("scale", Told(200, json.dumps(world.planner.account_of("demo", "chat"))))
    assert "no figures: Holding still" in told


def test_when_no_replica_leads_each_answer_is_told():
    with pytest.raises(CommandFailed, match="ops/operator: does not lead"):
        printed("fleet", Told(404, "does not lead, or knows no such fleet"))
