"""What the wire side tells the engine, and what the engine answers. A gateway is its connection, named by a number."""

from collections.abc import Callable
from dataclasses import dataclass

from tierline.wire.frames import Cancel, Demand, Submit, WorkerFrame
from tierline_worker.adapters.pages import PagedAdapter


@dataclass(frozen=True, slots=True)
class GatewayJoined:
    """A gateway said hello and waits for its welcome."""

    gateway: int


@dataclass(frozen=True, slots=True)
class GatewayLeft:
    """A connection is gone: nobody reads what its requests would produce."""

    gateway: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """A gateway sent a request."""

    gateway: int
    frame: Submit


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A gateway gave up a request."""

    gateway: int
    frame: Cancel


@dataclass(frozen=True, slots=True)
class Demanded:
    """A gateway told what it could do with credit."""

    gateway: int
    frame: Demand


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The worker will go away in `deadline_ms`: take nothing new, finish what runs."""

    deadline_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class AdapterOffered:
    """Serve an adapter from now on; `reply` gets why not, empty when it is served. It is called by the engine."""

    name: str
    adapter: PagedAdapter
    replace: bool
    reply: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AdapterWithdrawn:
    """Take no new requests for an adapter; `reply` gets why not, empty when that is so."""

    name: str
    reply: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AdapterStanding:
    """An adapter that is served: whether it lies in the arena, and whether a request here has it."""

    name: str
    resident: bool
    in_use: bool


@dataclass(frozen=True, slots=True)
class AdaptersAsked:
    """Tell `reply` which adapters are served. It is called by the engine."""

    reply: Callable[[tuple[AdapterStanding, ...]], None]


AdapterMessage = AdapterOffered | AdapterWithdrawn | AdaptersAsked
Message = GatewayJoined | GatewayLeft | Submitted | Cancelled | Demanded | DrainRequested | AdapterMessage


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A frame for one gateway."""

    gateway: int
    frame: WorkerFrame
