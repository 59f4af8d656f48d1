"""The connection to one worker: dialled, greeted, watched for silence, dialled again with growing pauses."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from tierline.scheduling.latency import MEASURED_SAMPLES, Coefficients, published
from tierline.scheduling.routing.choice import WorkerView
from tierline.wire.credits import CreditAccount, submit_cost_blocks
from tierline.wire.frames import (
    HEARTBEAT_SECONDS,
    PROTOCOL_VERSION,
    SILENCE_SECONDS,
    AdapterState,
    Cancel,
    Demand,
    Draining,
    Hello,
    Iteration,
    Nack,
    Refusal,
    Signals,
    Submit,
    Welcome,
    WorkerFrame,
    decode_worker,
    encode,
)
from tierline_gateway.workers.discovery import WorkerEndpoint
from tierline_gateway.workers.session import WorkerSession

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S = 3.0
FIRST_PAUSE_S = 0.1
STALE_SECONDS = 4 * HEARTBEAT_SECONDS
"""A report this old is not believed: the worker was to send a heartbeat long before."""
LONGEST_PAUSE_S = 3.0


def window_tokens(welcome: Welcome) -> int:
    """Return the longest prompt and answer that a worker holds."""
    return min(welcome.max_model_tokens, welcome.total_blocks * welcome.block_tokens)


class LinkEvents(Protocol):
    """Who is told what happens on links; called on the event loop, must not block."""

    def link_up(self, link: "WorkerLink") -> None: ...

    def link_down(self, link: "WorkerLink", cause: str) -> None: ...

    def iteration(self, link: "WorkerLink", frame: Iteration) -> None: ...

    def nack(self, link: "WorkerLink", frame: Nack) -> None: ...


class WorkerLink:
    """One worker as this gateway knows it. `outstanding` are the ids of requests it holds for us.

    `on_change` is called when `view` would say something else than before.
    """

    def __init__(
        self,
        endpoint: WorkerEndpoint,
        gateway_id: str,
        events: LinkEvents,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.account = CreditAccount()
        self.signals = Signals()
        self.welcome: Welcome | None = None
        self.drain_deadline: float | None = None
        self.outstanding: set[str] = set()
        self._latency: Coefficients | None = None
        self.adapters: frozenset[str] = frozenset()
        self._resident_adapters: frozenset[str] = frozenset()
        self._sent_tokens = 0
        self._holding = False
        self._gateway_id = gateway_id
        self._events = events
        self._on_change = on_change
        self._transport: asyncio.Transport | None = None
        self._session: WorkerSession | None = None
        self._view: WorkerView | None = None

    @property
    def name(self) -> str:
        return self.endpoint.name

    @property
    def up(self) -> bool:
        return self.welcome is not None

    @property
    def state(self) -> str:
        """One word for metrics."""
        if not self.up:
            return "disconnected"
        return "leaving" if self.leaving or not self.endpoint.serving else "serving"

    @property
    def leaving(self) -> bool:
        """Whether the worker will go away: nothing new is sent to it."""
        return self.drain_deadline is not None or self.endpoint.evacuate_by_epoch_ms is not None

    def view(self) -> WorkerView | None:
        """Return what routing must know; None while there is no connection.

        It is kept until something of it changes: every request looks at all workers, few of which it changes.
        """
        if self.welcome is None:
            return None
        view, stale = self._view, self.silent_s > STALE_SECONDS
        if view is None or view.stale != stale:
            view = self._view = self._seen(self.welcome, stale)
        return view

    def _changed(self) -> None:
        self._view = None
        self._on_change()

    def _seen(self, welcome: Welcome, stale: bool) -> WorkerView:
        return WorkerView(
            name=self.name,
            accepting=self.endpoint.serving and not self.leaving,
            credit_requests=self.account.requests,
            credit_blocks=self.account.blocks,
            block_tokens=welcome.block_tokens,
            max_model_tokens=welcome.max_model_tokens,
            outstanding_requests=len(self.outstanding),
            reported_requests=self.signals.running_requests + self.signals.waiting_requests,
            used_blocks=self.signals.used_blocks,
            total_blocks=welcome.total_blocks,
            backlog_tokens=self.signals.backlog_tokens + self._sent_tokens,
            latency=self._latency,
            stale=stale,
            rooms=self.signals.rooms,
            adapters=self.adapters,
            resident_adapters=self._resident_adapters,
            margin=self.signals.latency_margin,
            pace_budget_ms=self.signals.pace_budget_ms,
            role=self.endpoint.role,
            measured=self.signals.latency_samples >= MEASURED_SAMPLES,
        )

    @property
    def silent_s(self) -> float:
        """For how long nothing was heard of the worker."""
        return self._session.silent_s if self._session else 0.0

    @property
    def window_tokens(self) -> int:
        """The longest prompt and answer that the connected worker holds; 0 without a connection."""
        return window_tokens(self.welcome) if self.welcome is not None else 0

    def submit(self, frame: Submit) -> None:
        """Send a request and pay for it; the caller saw in `view` that it can. Raises `FrameError` without paying."""
        assert self.welcome is not None, "submit without a connection"
        assert self._transport is not None, "a welcome without a connection"
        message = encode(frame)
        context = len(frame.prompt_ids) + len(frame.emitted_ids)
        self.account.spend(submit_cost_blocks(context, self.welcome.block_tokens))
        self.outstanding.add(frame.request_id)
        self._sent_tokens += context
        self._changed()
        self._transport.write(message)

    def lacks(self, adapter: str) -> None:
        """Note that the worker refused an adapter; it will say so by itself, but later."""
        self.adapters -= {adapter}
        self._changed()

    def left(self, request_id: str) -> None:
        """Note that the worker does not hold a request any more."""
        self.outstanding.discard(request_id)
        self._changed()

    def cancel(self, request_id: str, epoch: int) -> None:
        self.left(request_id)
        self._send(Cancel(request_id, epoch))

    def hold(self, holding: bool, repeat: bool) -> None:
        """Tell the worker whether others go before what waits here, and leave them the credit.

        What is so already is told again only to `repeat` it: an idle worker looks at its room when it hears something.
        """
        if self.welcome is None or (holding == self._holding and not (holding and repeat)):
            return
        # What was granted to a gateway that holds back, nobody else has taken: it is there to be used.
        returned = self.account.hand_back() if not self._holding else (0, 0)
        self._holding = holding
        self._changed()
        self._send(Demand(holding, *returned))

    def close(self, cause: str) -> None:
        """End the present connection as if it had been lost; `run` dials again unless it is cancelled."""
        if self._session is not None:
            self._session.end(cause)

    def lost(self, cause: str) -> None:
        """Give the worker up: its streams are told now, not when its connection notices."""
        self._ended(cause)

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            if await self._connect_once():
                pause = FIRST_PAUSE_S
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _connect_once(self) -> bool:
        """Serve one connection to its end; returns whether the worker welcomed us."""
        loop = asyncio.get_running_loop()
        session = WorkerSession(self._on_body)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                transport, _ = await loop.create_connection(lambda: session, self.endpoint.host, self.endpoint.port)
        except (OSError, TimeoutError) as error:
            log.debug("worker %s cannot be reached: %s", self.name, error)
            return False
        self._transport, self._session = transport, session
        try:
            self._send(Hello(PROTOCOL_VERSION, self._gateway_id))
            cause = await self._watch(session)
        finally:
            transport.abort()
            self._transport = self._session = None
        return self._ended(cause)

    async def _watch(self, session: WorkerSession) -> str:
        loop = asyncio.get_running_loop()
        while not session.closed.done():
            await asyncio.wait({session.closed}, timeout=SILENCE_SECONDS / 4)
            if not session.closed.done() and loop.time() - session.last_heard > SILENCE_SECONDS:
                session.end("Silence")
        return session.closed.result()

    def _ended(self, cause: str) -> bool:
        was_up = self.up
        self.welcome, self.drain_deadline = None, None
        self.account, self.signals, self._latency = CreditAccount(), Signals(), None
        self._changed()
        if was_up:
            self._events.link_down(self, cause)
        self.outstanding.clear()
        self._sent_tokens, self._holding = 0, False
        self.adapters = self._resident_adapters = frozenset()
        self._changed()
        return was_up

    def _send(self, frame: Hello | Cancel | Demand) -> None:
        if self._transport is not None:
            self._transport.write(encode(frame))

    def _on_body(self, body: bytes) -> None:
        if self._session is None or self._session.closed.done():
            return
        self._on_frame(decode_worker(body))

    def _on_frame(self, frame: WorkerFrame) -> None:
        match frame:
            case Iteration():
                self.account.update(frame.credits)
                self.hear(frame.signals)
                if frame.adapters is not None:
                    self._serves(frame.adapters)
                self._events.iteration(self, frame)
            case Nack():
                self._events.nack(self, frame)
            case Welcome():
                self._welcomed(frame)
            case Draining():
                self.drain_deadline = asyncio.get_running_loop().time() + frame.deadline_ms / 1000
                self._changed()
            case Refusal():
                log.info("worker %s refuses us: %s", self.name, frame.reason)
                self.close("Refused")

    def hear(self, signals: Signals) -> None:
        """Take over a worker's report; what was sent to it before is in there."""
        if signals.latency_coefficients != self.signals.latency_coefficients:
            self._latency = published(signals.latency_coefficients)
        self.signals, self._sent_tokens = signals, 0
        self._changed()

    def adopt(self, endpoint: WorkerEndpoint) -> None:
        """Take over what discovery says of the worker now."""
        if endpoint != self.endpoint:
            self.endpoint = endpoint
            self._changed()

    def _serves(self, adapters: Sequence[AdapterState]) -> None:
        self.adapters = frozenset(state.name for state in adapters)
        self._resident_adapters = frozenset(state.name for state in adapters if state.resident)
        self._changed()

    def _welcomed(self, frame: Welcome) -> None:
        if frame.version != PROTOCOL_VERSION:
            log.error("worker %s speaks version %d, we speak %d", self.name, frame.version, PROTOCOL_VERSION)
            self.close("VersionMismatch")
            return
        self.welcome = frame
        self._serves(frame.adapters)
        self.account.update(frame.credits)
        self._events.link_up(self)
