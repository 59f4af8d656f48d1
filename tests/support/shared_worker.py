"""A worker that several gateways share: few slots, credits of the real ledger, a token an iteration for who runs."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from fake_wire_worker import BLOCK_TOKENS, WINDOW_TOKENS, answer_token

from tierline.wire.credits import submit_cost_blocks
from tierline.wire.frames import (
    LENGTH_BYTES,
    PROTOCOL_VERSION,
    Cancel,
    Credits,
    Demand,
    Hello,
    Iteration,
    Nack,
    NackReason,
    Signals,
    Submit,
    TokenBatch,
    Welcome,
    body_length,
    decode_gateway,
    encode,
)
from tierline_worker.engine.ledger import CreditLedger

BLOCKS = 10_000


@dataclass
class _Running:
    gateway: int
    submit: Submit
    emitted: int


@dataclass
class SharedWorker:
    """`served` counts the tokens that each tenant got, `contested` those of them that came while `all_wait`;
    `busy_slots` are those of all iterations together."""

    slots: int = 4
    period_s: float = 0.01
    port: int = 0
    all_wait: Callable[[], bool] = lambda: True
    served: Counter[str] = field(default_factory=Counter)
    contested: Counter[str] = field(default_factory=Counter)
    started: Counter[str] = field(default_factory=Counter)
    nacks: int = 0
    iterations: int = 0
    busy_slots: int = 0
    _running: dict[str, _Running] = field(default_factory=dict)
    _writers: dict[int, asyncio.StreamWriter] = field(default_factory=dict)
    _ledger: CreditLedger = field(default_factory=lambda: CreditLedger(WINDOW_TOKENS // BLOCK_TOKENS))
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks.add(asyncio.create_task(self._iterate()))

    def running(self) -> Counter[str]:
        """Return how many requests of each tenant run."""
        return Counter(held.submit.tenant for held in self._running.values())

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gateway = id(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                header = await reader.readexactly(LENGTH_BYTES)
                self._heard(gateway, writer, decode_gateway(await reader.readexactly(body_length(header))))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._left(gateway)
            writer.close()

    def _left(self, gateway: int) -> None:
        self._writers.pop(gateway, None)
        self._ledger.close(gateway)
        self._running = {key: held for key, held in self._running.items() if held.gateway != gateway}

    def _heard(self, gateway: int, writer: asyncio.StreamWriter, frame: object) -> None:
        match frame:
            case Hello():
                self._ledger.open(gateway)
                self._writers[gateway] = writer
                granted = self._granted(gateway)
                self._send(gateway, Welcome(PROTOCOL_VERSION, "w", "m", BLOCK_TOKENS, BLOCKS, WINDOW_TOKENS, granted))
            case Submit():
                self._ledger.spend(gateway, submit_cost_blocks(len(frame.prompt_ids), BLOCK_TOKENS))
                if len(self._running) >= self.slots:
                    self.nacks += 1
                    self._send(gateway, Nack(frame.request_id, frame.epoch, NackReason.NO_SLOT))
                    return
                self.started[frame.tenant] += 1
                self._running[frame.request_id] = _Running(gateway, frame, len(frame.emitted_ids))
            case Demand():
                self._ledger.demand(gateway, frame)
            case Cancel():
                self._running.pop(frame.request_id, None)

    def _granted(self, gateway: int) -> Credits:
        free = self.slots - len(self._running)
        now_s = asyncio.get_running_loop().time()
        return self._ledger.grant(gateway, free, BLOCKS, now_s)[0]

    async def _iterate(self) -> None:
        due_s = asyncio.get_running_loop().time()
        while True:
            due_s = max(due_s + self.period_s, asyncio.get_running_loop().time())
            await asyncio.sleep(due_s - asyncio.get_running_loop().time())
            self.iterations += 1
            self.busy_slots += len(self._running)
            batches: dict[int, list[TokenBatch]] = {gateway: [] for gateway in self._writers}
            if self.all_wait():
                self.contested.update(self.running())
            for held in list(self._running.values()):
                batches[held.gateway].append(self._batch(held))
            signals = Signals(running_requests=len(self._running), total_blocks=BLOCKS)
            for gateway, tokens in batches.items():
                frame = Iteration(self.iterations, signals, self._granted(gateway), tuple(tokens))
                self._send(gateway, frame)

    def _batch(self, held: _Running) -> TokenBatch:
        submit, position = held.submit, held.emitted
        held.emitted += 1
        self.served[submit.tenant] += 1
        ended = held.emitted >= submit.sampling.max_tokens
        if ended:
            del self._running[submit.request_id]
        reason = "length" if ended else ""
        return TokenBatch(submit.request_id, submit.epoch, position, (answer_token(position),), reason)

    def _send(self, gateway: int, frame: Welcome | Iteration | Nack) -> None:
        if gateway in self._writers:
            self._writers[gateway].write(encode(frame))
