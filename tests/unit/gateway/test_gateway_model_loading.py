"""Whatever a model's files do to their loader, the gateway goes on and tries again."""

import asyncio
import dataclasses
import zipfile
from pathlib import Path

import pytest
from fake_wire_worker import letter_tokenizer
from gateway_rig import policy

from tierline.artifacts import ModelSourceError
from tierline.text.tokenizer import Tokenizer, TokenizerError
from tierline_gateway.front.api_errors import ApiError
from tierline_gateway.front.openai_requests import ChatMessage, ChatRequest, CompletionRequest
from tierline_gateway.front.prompts import PromptReader
from tierline_gateway.policy_source import StaticPolicySource
from tierline_gateway.served import tokenizers
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery

FAILURES = [
    ModelSourceError("/m", "gone"),
    TokenizerError("no merges"),
    OSError("disk"),
    zipfile.BadZipFile("half"),
    IndexError("a header with odd ids"),
]


async def test_every_failure_of_a_loader_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failures = iter(FAILURES)

    def load(_: Path) -> Tokenizer:
        if (failure := next(failures, None)) is not None:
            raise failure
        return letter_tokenizer()

    monkeypatch.setattr(tokenizers, "RETRY_S", 0.001)
    monkeypatch.setattr(tokenizers, "LOOK_S", 0.001)
    monkeypatch.setattr(tokenizers, "resolve", lambda *_: tmp_path)
    monkeypatch.setattr(tokenizers, "load_tokenizer", load)
    service = GatewayService(StaticPolicySource(policy()), StaticDiscovery(), "g")
    job = asyncio.create_task(tokenizers.TokenizerLoader(service, tmp_path).run())
    async with asyncio.timeout(10):
        while service.own.tokenizer is None and not job.done():  # noqa: ASYNC110 - the loader tells nobody
            await asyncio.sleep(0.002)
    assert service.own.tokenizer is not None
    job.cancel()


def test_without_a_template_completions_are_served_and_chat_is_refused() -> None:
    reader = PromptReader(dataclasses.replace(letter_tokenizer(), chat_template=None), 64)
    assert reader.completion(CompletionRequest(model="m", prompt="ab")).prompt_ids == (1, 2)
    with pytest.raises(ApiError, match="no usable chat template") as caught:
        reader.chat(ChatRequest(model="m", messages=[ChatMessage(role="user", content="hi")]))
    assert (caught.value.status, caught.value.param) == (400, "messages")
