"""Turn `--nodes on-demand:zone-a:2,spot:zone-b:2` into virtual nodes."""

from typing import get_args

from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.nodes import CapacityType, NodeSpec

DEFAULT_NODES = "on-demand:zone-a:2,spot:zone-b:2"
MAX_NODES = 5000
_CAPACITY_TYPES: tuple[CapacityType, ...] = get_args(CapacityType)


class InvalidNodes(DevclusterError):
    """The text of `--nodes` is wrong; the message names the part and the fix."""


def parse_nodes(text: str) -> tuple[NodeSpec, ...]:
    """Return the nodes of a comma-separated list of `capacity-type:zone:count` groups, named after group and number."""
    groups = [part.strip() for part in text.split(",") if part.strip()]
    if not groups:
        raise InvalidNodes("--nodes is empty; write for example on-demand:zone-a:2,spot:zone-b:2")
    nodes = tuple(node for group in groups for node in _parse_group(group))
    if len(nodes) > MAX_NODES:
        raise InvalidNodes(f"--nodes asks for {len(nodes)} nodes; the most is {MAX_NODES}")
    names = [node.name for node in nodes]
    if len(set(names)) != len(names):
        raise InvalidNodes(f"--nodes {text!r} names a capacity type and zone twice; add up their counts instead")
    return nodes


def _parse_group(group: str) -> list[NodeSpec]:
    parts = group.split(":")
    if len(parts) != 3:
        raise InvalidNodes(f"--nodes: {group!r} is not capacity-type:zone:count, for example spot:zone-b:2")
    capacity, zone, count = parts
    capacity_type = _capacity_type(group, capacity)
    _check_zone(group, zone)
    prefix = f"{capacity_type}-{zone}"
    return [
        NodeSpec(name=f"{prefix}-{number}", zone=zone, capacity_type=capacity_type)
        for number in range(_count(group, count))
    ]


def _capacity_type(group: str, text: str) -> CapacityType:
    for known in _CAPACITY_TYPES:
        if text == known:
            return known
    raise InvalidNodes(f"--nodes: capacity type {text!r} in {group!r} is none of {', '.join(_CAPACITY_TYPES)}")


def _check_zone(group: str, zone: str) -> None:
    legal = zone and zone.isascii() and zone.replace("-", "").isalnum() and zone == zone.lower()
    if not legal or zone.startswith("-") or zone.endswith("-") or len(zone) > 40:
        raise InvalidNodes(
            f"--nodes: zone {zone!r} in {group!r} must be 1 to 40 small letters, digits and inner dashes, like zone-a"
        )


def _count(group: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_NODES:
        raise InvalidNodes(f"--nodes: count {text!r} in {group!r} must be a whole number from 1 to {MAX_NODES}")
    return int(text)
