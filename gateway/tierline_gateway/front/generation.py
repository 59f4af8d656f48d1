"""What a client asked for, after validation and independent of the endpoint it used."""

from dataclasses import dataclass

from tierline.wire.frames import Sampling


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer to generate, and how the client wants to see it."""

    model: str
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    return_token_ids: bool = False
    echo_text: str = ""
