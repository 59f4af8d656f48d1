"""A scripted worker that speaks frames over a real socket; its answers are the alphabet."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import tokenizers

from tierline.text.chat import ChatTemplate
from tierline.text.tokenizer import Tokenizer
from tierline.wire.credits import submit_cost_blocks
from tierline.wire.frames import (
    LENGTH_BYTES,
    PROTOCOL_VERSION,
    AdapterState,
    Cancel,
    Credits,
    Draining,
    Frame,
    Hello,
    Iteration,
    Nack,
    NackReason,
    Signals,
    Submit,
    TokenBatch,
    TokenLogprobs,
    Welcome,
    body_length,
    decode_gateway,
    encode,
)
from tierline_gateway.workers.discovery import WorkerEndpoint

BLOCK_TOKENS = 16
WINDOW_TOKENS = 512
EOS = 0
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def answer_token(position: int) -> int:
    """What every worker gives at an output position: a, b, c, ..."""
    return 1 + position % len(LETTERS)


def answer_text(tokens: int) -> str:
    return "".join(LETTERS[position % len(LETTERS)] for position in range(tokens))


def letter_tokenizer() -> Tokenizer:
    """One token per letter, small enough to reckon with."""
    vocabulary = {"<eos>": EOS} | {letter: 1 + at for at, letter in enumerate(LETTERS)} | {" ": 27, "<unk>": 28}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), behavior="isolated")
    backend.decoder = tokenizers.decoders.Fuse()
    backend.add_special_tokens(["<eos>"])
    template = ChatTemplate("{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant ")
    return Tokenizer(backend, frozenset({EOS}), WINDOW_TOKENS, template)


@dataclass
class FakeWorker:
    """Gives one token an iteration to every request it holds, as fast as `gate` lets it.

    After `most_answers` it closes the gate itself: what a test does then comes before the others end, on any machine.
    """

    name: str
    requests: int = 8
    blocks: int = 4096
    max_model_tokens: int = WINDOW_TOKENS
    period_s: float = 0.002
    nack: NackReason | None = None
    fail_at: int | None = None
    stop_at: int | None = None
    answer: tuple[int, ...] = ()
    deaf: bool = False
    most_answers: int | None = None
    adapters: tuple[AdapterState, ...] = ()
    held: dict[str, tuple[Submit, list[int]]] = field(default_factory=dict)
    submits: list[Submit] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    answered: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    server: asyncio.Server | None = None
    writer: asyncio.StreamWriter | None = None
    spent: Credits = field(default_factory=lambda: Credits(0, 0))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> WorkerEndpoint:
        self.gate.set()
        self.server = await asyncio.start_server(self._serve, host, port)
        return WorkerEndpoint(self.name, host, self.server.sockets[0].getsockname()[1])

    async def kill(self) -> None:
        """Die as a process does: every connection is cut, nothing is said."""
        if self.server is not None:
            self.server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None
        self.held.clear()

    async def send(self, frame: Frame) -> None:
        if self.writer is not None:
            self.writer.write(encode(frame))  # type: ignore[arg-type]
            await self.writer.drain()

    async def serves(self, *adapters: AdapterState) -> None:
        """Tell the gateway that the adapters are others now."""
        self.adapters = adapters
        await self.send(Iteration(0, Signals(total_blocks=self.blocks), self.credits(), (), adapters))

    async def drain(self, deadline_ms: int) -> None:
        await self.send(Draining(deadline_ms))

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(condition)

    def emitted(self, request_id: str) -> int:
        return len(self.held[request_id][1]) if request_id in self.held else 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer, self.spent = writer, Credits(0, 0)
        task = asyncio.create_task(self._iterate())
        current = asyncio.current_task()
        assert current is not None
        self._tasks |= {task, current}
        try:
            while True:
                header = await reader.readexactly(LENGTH_BYTES)
                await self._on_frame(decode_gateway(await reader.readexactly(body_length(header))))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            task.cancel()
            self._tasks -= {task, current}
            writer.close()

    async def _on_frame(self, frame: object) -> None:
        match frame:
            case Hello():
                totals = self.credits()
                welcome = Welcome(
                    PROTOCOL_VERSION,
                    self.name,
                    "m",
                    BLOCK_TOKENS,
                    self.blocks,
                    self.max_model_tokens,
                    totals,
                    self.adapters,
                )
                await self.send(welcome)
            case Submit():
                await self._submit(frame)
            case Cancel():
                self.cancels.append(frame)
                if not self.deaf:
                    self.held.pop(frame.request_id, None)
        await self._notify()

    async def _submit(self, frame: Submit) -> None:
        self.submits.append(frame)
        cost = submit_cost_blocks(len(frame.prompt_ids) + len(frame.emitted_ids), BLOCK_TOKENS)
        self.spent = Credits(self.spent.requests_total + 1, self.spent.blocks_total + cost)
        if self.nack is not None:
            reason, self.nack = self.nack, None
            await self.send(Nack(frame.request_id, frame.epoch, reason))
            return
        self.held[frame.request_id] = (frame, list(frame.emitted_ids))

    def credits(self) -> Credits:
        free = max(self.requests - len(self.held), 0)
        return Credits(self.spent.requests_total + free, self.spent.blocks_total + self.blocks)

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _iterate(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(self.period_s)
            await self.gate.wait()
            number += 1
            batches = tuple(self._batch(request_id) for request_id in tuple(self.held))
            signals = Signals(running_requests=len(self.held), total_blocks=self.blocks)
            await self.send(Iteration(number, signals, self.credits(), batches))
            await self._notify()

    def _batch(self, request_id: str) -> TokenBatch:
        submit, emitted = self.held[request_id]
        position = len(emitted)
        if self.fail_at == position:
            del self.held[request_id]
            return TokenBatch(request_id, submit.epoch, position, (), "failed", "out of luck")
        token = EOS if self.stop_at == position else self._token(position)
        emitted.append(token)
        reason = ""
        if token in submit.sampling.stop_token_ids:
            reason = "stop"
        elif len(emitted) == submit.sampling.max_tokens:
            reason = "length"
        if reason:
            self._answered(request_id)
        return TokenBatch(request_id, submit.epoch, position, (token,), reason, logprobs=self._logprobs(submit, token))

    def _answered(self, request_id: str) -> None:
        del self.held[request_id]
        self.answered += 1
        if self.answered == self.most_answers:
            self.gate.clear()

    def _token(self, position: int) -> int:
        """Return what comes at a position: of `answer` and then its end, or of the alphabet."""
        if not self.answer:
            return answer_token(position)
        return self.answer[position] if position < len(self.answer) else EOS

    def _logprobs(self, submit: Submit, token: int) -> tuple[TokenLogprobs, ...]:
        """The token has e^-0.5, the next ones of the alphabet a little less each."""
        asked = submit.sampling.logprobs
        if asked is None:
            return ()
        return (TokenLogprobs(-0.5, tuple((token + at, -0.5 - at) for at in range(asked))),)
