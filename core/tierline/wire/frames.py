"""The frames between a gateway and a worker: one multiplexed TCP connection, dialled by the gateway.

A frame on the wire is a 4-byte big-endian length and a msgpack body, a tagged union of the structs below. The gateway
speaks first with `Hello`; the worker answers `Welcome` or `Refusal`. Each iteration of the worker that produced
something for this gateway is one `Iteration` frame: new tokens of all its requests, the worker's signals and credits.
An idle worker sends an empty `Iteration` each `HEARTBEAT_SECONDS`; a gateway that hears nothing for `SILENCE_SECONDS`
counts the worker as lost.

Nothing is doubled: a token batch carries request id, epoch and first position, so a gateway drops batches of stale
epochs and positions it has seen. Times are relative milliseconds, since clocks of two machines differ.
"""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from tierline.api.decision_matrix import BatchingMode, PreemptionGranularity, PreemptionSave

PROTOCOL_VERSION = 3
MAX_FRAME_BYTES = 16 * 1024 * 1024
LENGTH_BYTES = 4
HEARTBEAT_SECONDS = 0.25
SILENCE_SECONDS = 3.0


class FrameError(ValueError):
    """A frame that is too long, cut off, or not one of ours."""


class Frame(msgspec.Struct, frozen=True, tag_field="t", array_like=False, omit_defaults=True):
    """Base of all frames."""


class Grammar(msgspec.Struct, frozen=True):
    """What an answer must look like: `kind` says how to read `text`."""

    kind: Literal["json_object", "json_schema", "regex", "lark"]
    text: str = ""


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to choose tokens. `temperature` 0 is greedy; randomness is keyed by (seed, position).

    `top_k` 0, `top_p` 1 and `min_p` 0 mean no limit. Presence and frequency penalties count generated tokens, the
    repetition penalty (1 is none) the prompt's too. `logit_bias` are pairs (token, added logit). `logprobs` None: none
    are reported, k: those of the chosen token and of the k most probable ones.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    min_p: float = 0.0
    min_tokens: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    grammar: Grammar | None = None

    @property
    def sequential(self) -> bool:
        """Whether a token's choice depends on which tokens the answer has before it, other than through the model.

        Such a choice cannot be made ahead for positions whose predecessors are only proposed.
        """
        penalised = self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1.0
        return bool(penalised) or self.grammar is not None


class Hello(Frame, frozen=True, tag="hello"):
    """First frame of a gateway."""

    version: int
    gateway_id: str


class AdapterState(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """A LoRA adapter that a worker serves; `resident` ones lie in its arena and start without being loaded."""

    name: str
    resident: bool = False


class Welcome(Frame, frozen=True, tag="welcome"):
    """The worker's answer to `Hello`: who it is, what it can hold, and the adapters it serves."""

    version: int
    worker_id: str
    model: str
    block_tokens: int
    total_blocks: int
    max_model_tokens: int
    credits: "Credits"
    adapters: tuple[AdapterState, ...] = ()


class Refusal(Frame, frozen=True, tag="refusal"):
    """The worker will not talk (version, draining); the connection is closed after it."""

    reason: str


class Submit(Frame, frozen=True, tag="submit"):
    """Start a request, or continue one elsewhere begun: `emitted_ids` were delivered and are never sent again.

    `waited_ms` is how long ago it arrived; `ttft_slack_ms` what is left until its first token is due (negative: late).
    Only requests of one `cache_namespace` and `adapter` share cached prefixes. `fork_of` is another answer to the same
    prompt, sent to the same worker before. `batching`, `granularity`, `save` and `speculate` are the tier's choices.
    """

    request_id: str
    epoch: int
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    emitted_ids: tuple[int, ...] = ()
    tenant: str = ""
    tier: str = ""
    priority: int = 0
    waited_ms: int = 0
    ttft_slack_ms: int = 0
    tpot_budget_ms: int = 0
    preemptible: bool = True
    cache_namespace: str = ""
    adapter: str = ""
    fork_of: str = ""
    batching: BatchingMode = "Continuous"
    granularity: PreemptionGranularity = "Request"
    save: PreemptionSave = "Auto"
    speculate: bool = False


class Cancel(Frame, frozen=True, tag="cancel"):
    """Stop a request and free its blocks at once."""

    request_id: str
    epoch: int


class Demand(Frame, frozen=True, tag="demand"):
    """What a gateway could do with credit. It hands back what it holds unused; both sides count that as spent.

    `holding`: requests wait there, but it is the turn of tenants that wait at other gateways, so the worker's room is
    theirs. Repeated while that lasts; a gateway that says so is granted only what nobody else takes.
    """

    holding: bool
    returned_requests: Annotated[int, msgspec.Meta(ge=0)] = 0
    returned_blocks: Annotated[int, msgspec.Meta(ge=0)] = 0


class NackReason(StrEnum):
    """Why a worker did not start a request."""

    NO_BLOCKS = "NoBlocks"
    NO_SLOT = "NoSlot"
    DRAINING = "Draining"
    TOO_LONG = "TooLong"
    DUPLICATE = "Duplicate"
    UNKNOWN_ADAPTER = "UnknownAdapter"


class Nack(Frame, frozen=True, tag="nack"):
    """The request was not started; the gateway puts it back in its place."""

    request_id: str
    epoch: int
    reason: NackReason


class TokenLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """Natural log of a token's probability, and of the most probable ones at its position as (token, logprob)."""

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class TokenBatch(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """New tokens of one request. `first_position` is the output index of `token_ids[0]`, 0 for the very first.

    A batch with `finish_reason` ends the request; `error` says what broke when that is "failed". `logprobs` has an
    entry for each token when the request asked for them.
    """

    request_id: str
    epoch: int
    first_position: int
    token_ids: tuple[int, ...]
    finish_reason: str = ""
    error: str = ""
    logprobs: tuple[TokenLogprobs, ...] = ()


class Signals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker reports with each iteration.

    `rooms` is what credits do not tell while lower priorities hold a worker: rows (priority, requests, blocks) say what
    a request above that priority finds, since others yield to it. It may overdraw its gateway's credit by that.
    `latency_margin` is what to plan with: predicted times by (1 + margin) hold for 95 % of iterations. `pace_budget_ms`
    is the tightest time per token promised to a request here, 0 when none is.
    """

    running_requests: int = 0
    waiting_requests: int = 0
    used_blocks: int = 0
    total_blocks: int = 0
    backlog_tokens: int = 0
    iteration_ms: float = 0.0
    latency_coefficients: tuple[float, ...] = ()
    latency_residual_p95_ms: float = 0.0
    latency_samples: int = 0
    latency_margin: float = 0.0
    pace_budget_ms: float = 0.0
    rooms: tuple[tuple[int, int, int], ...] = ()


class Credits(msgspec.Struct, frozen=True):
    """Totals granted to this gateway since the connection began; they only grow, so order and loss do no harm."""

    requests_total: int
    blocks_total: int


class Iteration(Frame, frozen=True, tag="iteration"):
    """What one iteration gave this gateway, or a heartbeat when `tokens` is empty.

    `adapters` are all that the worker serves when that or their residency changed, None when they are as told before.
    """

    number: int
    signals: Signals
    credits: Credits
    tokens: tuple[TokenBatch, ...] = ()
    adapters: tuple[AdapterState, ...] | None = None


class Draining(Frame, frozen=True, tag="draining"):
    """The worker will go away: send nothing new, move what will not finish within `deadline_ms`."""

    deadline_ms: int
    reason: str = ""


GatewayFrame = Hello | Submit | Cancel | Demand
WorkerFrame = Welcome | Refusal | Iteration | Nack | Draining

# msgspec reports broken UTF-8 and deep nesting with Python's own errors.
_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_ENCODER = msgspec.msgpack.Encoder()
_GATEWAY_DECODER: msgspec.msgpack.Decoder[GatewayFrame] = msgspec.msgpack.Decoder(GatewayFrame)
_WORKER_DECODER: msgspec.msgpack.Decoder[WorkerFrame] = msgspec.msgpack.Decoder(WorkerFrame)


def encode(frame: GatewayFrame | WorkerFrame) -> bytes:
    """Return the frame as it goes on the wire, length first; raises `FrameError` when it is too long.

    So it does when the frame holds what msgpack cannot: an integer beyond 64 bits, text that is not Unicode.
    """
    try:
        body = _ENCODER.encode(frame)
    except (OverflowError, UnicodeEncodeError) as error:
        raise FrameError(f"{type(frame).__name__} cannot be sent: {error}") from error
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"frame of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_length(header: bytes) -> int:
    """Return the length of the body that follows `header`; raises `FrameError` when it is over the limit."""
    length = int.from_bytes(header, "big")
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"frame of {length} bytes announced, the limit is {MAX_FRAME_BYTES}")
    return length


def decode_gateway(body: bytes) -> GatewayFrame:
    """Decode what a gateway sent; raises `FrameError`."""
    try:
        return _GATEWAY_DECODER.decode(body)
    except _UNDECODABLE as error:
        raise FrameError(f"not a gateway frame: {error}") from error


def decode_worker(body: bytes) -> WorkerFrame:
    """Decode what a worker sent; raises `FrameError`."""
    try:
        return _WORKER_DECODER.decode(body)
    except _UNDECODABLE as error:
        raise FrameError(f"not a worker frame: {error}") from error
