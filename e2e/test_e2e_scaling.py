"""Replicas: through `kubectl scale`, through the fleet's bounds, and left alone where somebody else decides."""

from e2e_house import House
from e2e_manifests import POOL
from e2e_waiting import HANGS_SECONDS, consistently, eventually


async def test_kubectl_scale_adds_and_takes_workers(house: House) -> None:
    namespace, pool = house.namespace, f"{house.fleet}-{POOL}"
    await _set_mode(house, "External")
    await namespace.kubectl("scale", "wp", pool, "--replicas=2")
    before = {pod["metadata"]["name"] for pod in await namespace.until_ready_workers(house.fleet, 2, HANGS_SECONDS)}
    await namespace.kubectl("scale", "wp", pool, "--replicas=3")
    grown = await namespace.until_ready_workers(house.fleet, 3, HANGS_SECONDS)
    assert before < {pod["metadata"]["name"] for pod in grown}
    await namespace.kubectl("scale", "wp", pool, "--replicas=2")
    shrunk = await namespace.until_ready_workers(house.fleet, 2, HANGS_SECONDS)
    assert {pod["metadata"]["name"] for pod in shrunk} == before
    await _set_mode(house, "Tierline")
    await namespace.until_ready(house.fleet)


async def test_bounds_of_the_fleet_hold(house: House) -> None:
    namespace, pool = house.namespace, f"{house.fleet}-{POOL}"
    await namespace.kubectl("scale", "wp", pool, "--replicas=0")
    await eventually(lambda: _replicas_are(house, 2), HANGS_SECONDS, "the pool is back at the fleet's minimum")
    await namespace.until_ready(house.fleet)


async def test_a_raised_minimum_starts_a_worker(house: House) -> None:
    namespace = house.namespace
    await _set_bounds(house, 3, 4)
    await namespace.until_ready_workers(house.fleet, 3, HANGS_SECONDS)
    await _set_bounds(house, 1, 2)
    await namespace.until_ready_workers(house.fleet, 2, HANGS_SECONDS)
    await _set_bounds(house, 2, 4)
    await namespace.until_ready(house.fleet)


async def test_external_scaling_is_respected(house: House) -> None:
    namespace, pool = house.namespace, f"{house.fleet}-{POOL}"
    await _set_mode(house, "External")
    await namespace.until_ready(house.fleet)
    await namespace.kubectl("scale", "wp", pool, "--replicas=1")
    await namespace.until_ready_workers(house.fleet, 1, HANGS_SECONDS)
    await consistently(lambda: _replicas_are(house, 1), 3, "replicas below the fleet's minimum, set by hand")
    await _set_mode(house, "Tierline")
    await namespace.until_ready_workers(house.fleet, 2, HANGS_SECONDS)
    await namespace.until_ready(house.fleet)


async def _replicas_are(house: House, count: int) -> bool:
    pool = await house.namespace.found("WorkerPool", f"{house.fleet}-{POOL}")
    return int(pool["spec"]["replicas"]) == count


async def _set_mode(house: House, mode: str) -> None:
    await house.namespace.patch("LLMFleet", house.fleet, {"spec": {"scaling": {"mode": mode}}})


async def _set_bounds(house: House, least: int, most: int) -> None:
    declared = (await house.namespace.found("LLMFleet", house.fleet))["spec"]["pools"]
    pools = [{**pool, "replicas": {"min": least, "max": most}} for pool in declared]
    await house.namespace.patch("LLMFleet", house.fleet, {"spec": {"pools": pools}})
