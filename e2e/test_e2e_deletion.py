"""What is deleted is gone, with everything below it, and nothing waits for a finalizer."""

import asyncio

from e2e_gateway import reach
from e2e_house import FAST, KEYS
from e2e_manifests import fleet, quota, secret
from e2e_models import Models
from e2e_namespace import Namespace
from e2e_streams import assert_whole, open_stream
from e2e_waiting import HANGS_SECONDS, eventually

TOKENS = 8000
GONE_SECONDS = 45
"""The garbage collector looks for new kinds every 30 s, and deletes nothing of a kind that it does not know."""


async def test_a_deleted_fleet_takes_everything_with_it(namespace: Namespace, models: Models) -> None:
    """Two fleets in one room: one goes, in the middle of a stream, the other one stays whole."""
    await namespace.create(
        secret("alice", KEYS["alice"]),
        quota("alice", (FAST,)),
        fleet("leaving", models.tiny, (FAST,), workers=1),
        fleet("staying", models.tiny, (FAST,), workers=1),
    )
    await asyncio.gather(namespace.until_ready("leaving"), namespace.until_ready("staying"))
    async with reach(namespace, "leaving") as gateway, gateway.client(KEYS["alice"]) as alice:
        stream = open_stream(alice, "leaving", "what comes next?", TOKENS)
        await stream.until(5)
        await namespace.delete("LLMFleet", "leaving")
        await namespace.until_gone("leaving", GONE_SECONDS)
        # Told at once that nobody can go on, unless it was quicker than the garbage collector.
        if not await stream.broken(HANGS_SECONDS):
            assert_whole(stream, TOKENS)
    assert len(await namespace.workers("staying")) == 1
    await namespace.until_ready("staying")


async def test_a_fleet_that_never_started_can_be_deleted(namespace: Namespace) -> None:
    await namespace.create(fleet("hopeless", "file:///no/such/model", ("no-such-tier",)))
    await namespace.until_condition("LLMFleet", "hopeless", "TiersResolved", "False")
    await namespace.delete("LLMFleet", "hopeless")
    await namespace.until_gone("hopeless", HANGS_SECONDS)


async def test_a_fleet_deleted_at_once_leaves_nothing(namespace: Namespace, models: Models) -> None:
    await namespace.create(fleet("brief", models.tiny, (FAST,)))
    await namespace.delete("LLMFleet", "brief")
    await namespace.until_gone("brief", GONE_SECONDS)


async def test_a_fleet_of_the_same_name_can_follow_and_go_with_its_namespace(
    namespace: Namespace, models: Models
) -> None:
    await namespace.create(fleet("again", models.tiny, (FAST,), workers=1))
    await namespace.until_ready("again")
    await namespace.delete("LLMFleet", "again")
    await namespace.create_once_free(fleet("again", models.tiny, (FAST,), workers=1), GONE_SECONDS)
    # It waits for what still bears the names of its children.
    await namespace.until_ready("again", GONE_SECONDS)
    assert len(await namespace.workers("again")) == 1
    await namespace.cluster.delete("Namespace", namespace.name)

    async def gone() -> bool:
        return await namespace.cluster.get("Namespace", namespace.name) is None

    await eventually(gone, HANGS_SECONDS, f"namespace {namespace.name} is gone")
