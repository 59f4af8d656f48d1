"""What a client asked for, after validation and independent of the endpoint it used."""

import msgspec

from tierline.wire.frames import Sampling
from tierline_gateway.front.tool_use import ToolUse


class Generation(msgspec.Struct, frozen=True):
    """What to generate, in `choices` answers to one prompt, and how the client wants to see it.

    `tools` says how functions may be called, None where the answer is text only. A higher `user_priority` goes before
    the tenant's other requests. `sampling` is the first choice's;
    choice i has its seed plus i, so it is what a request of its own would give.
    """

    model: str
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    return_token_ids: bool = False
    echo_text: str = ""
    choices: int = 1
    tools: ToolUse | None = None
    user_priority: int = 0

    def sampling_of(self, choice: int) -> Sampling:
        """Return the sampling of one choice."""
        return msgspec.structs.replace(self.sampling, seed=self.sampling.seed + choice)
