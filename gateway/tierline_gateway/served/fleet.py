"""One fleet behind the gateway: its workers, its queue, its tokenizer, and the clockwork that keeps them up to date."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tierline.api.policy import ModelPolicy
from tierline.text.tokenizer import Tokenizer
from tierline.text.tools.formats import FORMATS
from tierline_gateway.front.api_errors import unavailable
from tierline_gateway.front.prompts import PromptReader
from tierline_gateway.instruments import Instruments
from tierline_gateway.shared.quota_demand import QuotaDemand
from tierline_gateway.shared.sharing import StateSharing
from tierline_gateway.shared.store import SharedStore
from tierline_gateway.streams.dispatcher import Dispatcher
from tierline_gateway.streams.evacuation import evacuate_due
from tierline_gateway.streams.ledger import Ledger
from tierline_gateway.workers.pool import LinkPool

UNKNOWN_WINDOW_TOKENS = 2048


@dataclass
class ServedFleet:
    """What a gateway has of one fleet; nothing here is shared with the others but the tenants' ledger.

    `tokenizer` is None until it is loaded; `problem` says what went wrong with that. `sharing` is None where each
    gateway is alone.
    """

    name: str
    links: LinkPool
    ledger: Ledger
    clock_ms: Callable[[], float]
    instruments: Instruments = field(default_factory=Instruments)
    tokenizer: Tokenizer | None = None
    problem: str = ""
    sharing: StateSharing | None = None
    dispatcher: Dispatcher = field(init=False)
    _sharing_task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(self.links, self.ledger, self.instruments, self.clock_ms)

    @property
    def idle(self) -> bool:
        """Whether it has no request in its care."""
        return not any(True for _ in self.dispatcher.live)

    @property
    def tried(self) -> bool:
        """Whether its tokenizer is there, or is known not to be."""
        return self.tokenizer is not None or bool(self.problem)

    @property
    def window_tokens(self) -> int:
        """The longest prompt and answer: what workers really have, else what the model's files say."""
        known = self.tokenizer.context_tokens if self.tokenizer is not None else None
        return self.links.window_tokens or known or UNKNOWN_WINDOW_TOKENS

    @property
    def loaded_tokenizer(self) -> Tokenizer:
        """The tokenizer; raises `ApiError` 503 before it is loaded."""
        if self.tokenizer is None:
            why = self.problem or "the tokenizer is not loaded yet"
            raise unavailable(f"Fleet {self.name} cannot be served now: {why}; try again.", "NotReady", 1)
        return self.tokenizer

    def prompt_reader(self, model: ModelPolicy | None = None) -> PromptReader:
        """Return the reader for this fleet's model; raises `ApiError` 503 before its tokenizer is loaded."""
        tool_format = FORMATS.get(model.tool_call_format) if model else None
        return PromptReader(self.loaded_tokenizer, self.window_tokens, tool_format)

    def share(self, store: SharedStore, gateway_id: str, demand: QuotaDemand) -> None:
        """Be fair together with the gateways that reach the same store; `demand` is what it says of quotas."""
        desk = self.dispatcher.desk
        counters, kv_shares = desk.queue.counters, desk.kv_shares
        self.sharing = StateSharing(store, gateway_id, counters, demand, kv_shares=kv_shares, clock_ms=self.clock_ms)
        self.dispatcher.queue.credit_is_handed_back = True

    def start_sharing(self) -> None:
        """Begin to exchange, if there is anybody to exchange with; needs a running event loop."""
        if self.sharing is not None and self._sharing_task is None:
            self._sharing_task = asyncio.create_task(self.sharing.run(), name=f"sharing-{self.name}")

    def tick(self) -> None:
        """Follow discovery, move streams off leaving workers, refuse who waited too long."""
        self.links.sync(self.dispatcher)
        evacuate_due(self.dispatcher, time.time() * 1000, asyncio.get_running_loop().time())
        self.dispatcher.expire()
        self.dispatcher.pump()
        self.links.hold(self.dispatcher.queue.held_back, repeat=True)

    async def close(self) -> None:
        """Drop workers and stop sharing."""
        if self._sharing_task is not None:
            self._sharing_task.cancel()
            await asyncio.gather(self._sharing_task, return_exceptions=True)
        await self.links.close()
