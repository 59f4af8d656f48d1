"""Every refusal names the field or header, the fix, and a reason for programs."""

import asyncio

import aiohttp
import pytest
from gateway_rig import policy, tenant, tier

from tierline_gateway.front import bodies

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
PLAIN = {"model": "m", "prompt": "hi", "max_tokens": 2}
TOOL = {"type": "function", "function": {"name": "f"}}
NO_SCHEMA = {"type": "function", "function": {"name": "g", "parameters": {"type": "no type"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCHEMA_PATH = "response_format.json_schema"


async def post(rig, path, body, **headers):
    sent = {"Authorization": "Bearer key-acme"} | {name.replace("_", "-"): value for name, value in headers.items()}
    data = {"data": body} if isinstance(body, bytes) else {"json": body}
    async with aiohttp.ClientSession() as session, session.post(f"{rig.url}{path}", headers=sent, **data) as answer:
        assert answer.headers["x-request-id"]
        return answer.status, (await answer.json()).get("error"), answer.headers


BAD_BODIES = [
    ("/v1/chat/completions", CHAT | {"max_tokens": -1}, "max_tokens", ">= 1"),
    ("/v1/chat/completions", CHAT | {"max_tokens": "many"}, "max_tokens", "int"),
    ("/v1/chat/completions", CHAT | {"max_completion_tokens": 0}, "max_completion_tokens", ">= 1"),
    ("/v1/chat/completions", CHAT | {"temperature": 3}, "temperature", "<= 2"),
    ("/v1/chat/completions", CHAT | {"temperature": -0.1}, "temperature", ">= 0"),
    ("/v1/chat/completions", CHAT | {"top_p": 0}, "top_p", "> 0"),
    ("/v1/chat/completions", CHAT | {"top_p": 1.5}, "top_p", "<= 1"),
    ("/v1/chat/completions", CHAT | {"seed": 2**70}, "seed", ""),
    ("/v1/chat/completions", CHAT | {"top_k": 2**31}, "top_k", "<= 2147483647"),
    ("/v1/chat/completions", CHAT | {"top_k": 2**64}, "top_k", ""),
    ("/v1/chat/completions", CHAT | {"stop_token_ids": [2**64]}, "stop_token_ids[0]", ""),
    ("/v1/chat/completions", CHAT | {"stop_token_ids": [1] * 257}, "stop_token_ids", "length <= 256"),
    ("/v1/chat/completions", CHAT | {"stream": "yes"}, "stream", "bool"),
    ("/v1/chat/completions", CHAT | {"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "bool"),
    ("/v1/chat/completions", CHAT | {"stop": [""]}, "stop", "empty"),
    ("/v1/chat/completions", CHAT | {"stop": ["a"] * 5}, "stop", "at most 4"),
    ("/v1/chat/completions", CHAT | {"tools": [{}]}, "tools[0].type", "required"),
    ("/v1/chat/completions", CHAT | {"tools": [{"type": "web_search"}]}, "tools[0].type", "web_search"),
    (
        "/v1/chat/completions",
        CHAT | {"tools": [TOOL | {"function": {"name": "a b"}}]},
        "tools[0].function.name",
        "regex",
    ),
    ("/v1/chat/completions", CHAT | {"tools": [TOOL, TOOL]}, "tools[1].function.name", "twice"),
    ("/v1/chat/completions", CHAT | {"tools": [TOOL] * 129}, "tools", "length <= 128"),
    ("/v1/chat/completions", CHAT | {"tool_choice": "auto"}, "tool_choice", "needs 'tools'"),
    ("/v1/chat/completions", CHAT | {"parallel_tool_calls": True}, "parallel_tool_calls", "needs 'tools'"),
    ("/v1/chat/completions", CHAT | {"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice", "maybe"),
    (
        "/v1/chat/completions",
        CHAT | {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice.function.name",
        "not among 'tools': f",
    ),
    (
        "/v1/chat/completions",
        CHAT | {"tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"}},
        "tool_choice",
        "leave one of them out",
    ),
    (
        "/v1/chat/completions",
        CHAT | {"tools": [TOOL, NO_SCHEMA], "tool_choice": "required"},
        "tools[1].function.parameters",
        "cannot be followed",
    ),
    ("/v1/chat/completions", CHAT | {"functions": []}, "functions", "use 'tools'"),
    ("/v1/chat/completions", CHAT | {"function_call": "auto"}, "function_call", "use 'tool_choice'"),
    (
        "/v1/chat/completions",
        CHAT | {"messages": [{"role": "tool", "content": "7"}]},
        "messages[0].tool_call_id",
        "required",
    ),
    (
        "/v1/chat/completions",
        CHAT | {"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]},
        "messages[0].tool_calls",
        "role assistant",
    ),
    (
        "/v1/chat/completions",
        CHAT
        | {"messages": [{"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": "["}}]}]},
        "messages[0].tool_calls[0].function.arguments",
        "no JSON object",
    ),
    ("/v1/chat/completions", {"model": "m"}, "messages", "required"),
    ("/v1/chat/completions", CHAT | {"messages": []}, "messages", "empty"),
    ("/v1/chat/completions", CHAT | {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "system"),
    ("/v1/chat/completions", CHAT | {"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "str"),
    ("/v1/chat/completions", CHAT | {"messages": [{"content": "x"}]}, "messages[0].role", "required"),
    (
        "/v1/chat/completions",
        CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].type",
        "only text",
    ),
    ("/v1/completions", {"model": "m"}, "prompt", "required"),
    ("/v1/completions", {"prompt": "x"}, "model", "required"),
    ("/v1/completions", PLAIN | {"prompt": ""}, "prompt", "empty"),
    ("/v1/completions", PLAIN | {"prompt": []}, "prompt", "empty"),
    ("/v1/completions", PLAIN | {"prompt": ["a", "b"]}, "prompt", "one prompt"),
    ("/v1/completions", PLAIN | {"prompt": [[1], [2]]}, "prompt", "one prompt"),
    ("/v1/completions", PLAIN | {"prompt": [1, 99999]}, "prompt", "99999"),
    ("/v1/completions", PLAIN | {"prompt": [-1]}, "prompt[0]", ">= 0"),
    ("/v1/completions", PLAIN | {"best_of": 3}, "best_of", "'n' gives several"),
    ("/v1/chat/completions", CHAT | {"store": True}, "store", "nothing is stored"),
    ("/v1/chat/completions", CHAT | {"service_tier": "flex"}, "service_tier", "x-tierline-tier"),
    ("/v1/chat/completions", CHAT | {"modalities": ["text", "audio"]}, "modalities", "only text"),
    ("/v1/chat/completions", CHAT | {"prompt_logprobs": 1}, "prompt_logprobs", "leave it out"),
    ("/v1/chat/completions", CHAT | {"skip_special_tokens": False}, "skip_special_tokens", "return_token_ids"),
    ("/v1/chat/completions", CHAT | {"reasoning_effort": "high"}, "reasoning_effort", "not read by"),
    ("/v1/chat/completions", CHAT | {"chat_template_kwargs": {"tools": 1}}, "chat_template_kwargs.tools", "remove"),
    ("/v1/chat/completions", CHAT | {"metadata": {"a": 1}}, "metadata", "str"),
    ("/v1/chat/completions", CHAT | {"metadata": {str(at): "" for at in range(17)}}, "metadata", "length <= 16"),
    ("/v1/chat/completions", CHAT | {"priority": 3}, "priority", "<= 2"),
    (
        "/v1/chat/completions",
        CHAT | {"stream": True, "stream_options": {"continuous_usage_stats": True}},
        "stream_options.continuous_usage_stats",
        "include_usage",
    ),
    ("/tokenize", {"model": "m"}, "prompt", "required"),
    ("/tokenize", {"model": "m", "prompt": "a", "messages": CHAT["messages"]}, "prompt", "only one of them"),
    ("/detokenize", {"model": "m", "tokens": [29]}, "tokens", "end at 28"),
    ("/detokenize", {"model": "m", "tokens": ["a"]}, "tokens[0]", "int"),
    ("/v1/completions", PLAIN | {"suffix": "end"}, "suffix", "not served"),
    ("/v1/completions", PLAIN | {"echo": True, "logprobs": 1}, "echo", "leave one of them out"),
    ("/v1/completions", PLAIN | {"logprobs": 21}, "logprobs", "<= 20"),
    ("/v1/completions", PLAIN | {"logprobs": -1}, "logprobs", ">= 0"),
    ("/v1/chat/completions", CHAT | {"n": 0}, "n", ">= 1"),
    ("/v1/chat/completions", CHAT | {"n": 129}, "n", "<= 128"),
    ("/v1/chat/completions", CHAT | {"min_p": 1.5}, "min_p", "<= 1"),
    ("/v1/chat/completions", CHAT | {"min_p": -0.5}, "min_p", ">= 0"),
    ("/v1/chat/completions", CHAT | {"min_tokens": -1}, "min_tokens", ">= 0"),
    ("/v1/chat/completions", CHAT | {"min_tokens": 3}, "min_tokens", "limit of 2"),
    ("/v1/chat/completions", CHAT | {"presence_penalty": 2.5}, "presence_penalty", "<= 2"),
    ("/v1/chat/completions", CHAT | {"frequency_penalty": -2.5}, "frequency_penalty", ">= -2"),
    ("/v1/chat/completions", CHAT | {"repetition_penalty": 0}, "repetition_penalty", "> 0"),
    ("/v1/chat/completions", CHAT | {"logit_bias": {"3": 101}}, "logit_bias", "<= 100"),
    ("/v1/chat/completions", CHAT | {"logit_bias": {"three": 1}}, "logit_bias", "int"),
    ("/v1/chat/completions", CHAT | {"logit_bias": {"29": 1}}, "logit_bias", "end at 28"),
    ("/v1/chat/completions", CHAT | {"logit_bias": [3]}, "logit_bias", "object"),
    ("/v1/chat/completions", CHAT | {"logprobs": True, "top_logprobs": 21}, "top_logprobs", "<= 20"),
    ("/v1/chat/completions", CHAT | {"top_logprobs": 2}, "top_logprobs", "'logprobs': true"),
    ("/v1/chat/completions", CHAT | {"stream_options": {"include_usage": True}}, "stream_options", "'stream': true"),
    ("/v1/chat/completions", CHAT | {"response_format": {"type": "xml"}}, "response_format.type", "xml"),
    ("/v1/chat/completions", CHAT | {"response_format": {"type": "json_schema"}}, SCHEMA_PATH, "required"),
    (
        "/v1/chat/completions",
        CHAT | {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        f"{SCHEMA_PATH}.schema",
        "required",
    ),
    (
        "/v1/chat/completions",
        CHAT | {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "objekt"}}}},
        f"{SCHEMA_PATH}.schema",
        "objekt",
    ),
    (
        "/v1/chat/completions",
        CHAT | {"response_format": {"type": "json_schema", "json_schema": {"schema": {"unevaluatedProperties": 1}}}},
        f"{SCHEMA_PATH}.schema",
        "unevaluatedProperties",
    ),
    ("/v1/chat/completions", CHAT | {"guided_regex": "[ab"}, "guided_regex", "unclosed"),
    ("/v1/chat/completions", CHAT | {"guided_grammar": 'start: "x'}, "guided_grammar", "lexer"),
    ("/v1/chat/completions", CHAT | {"guided_choice": []}, "guided_choice", "length >= 1"),
    ("/v1/chat/completions", CHAT | {"guided_json": "no json"}, "guided_json", "line 1"),
    ("/v1/completions", PLAIN | {"structured_outputs": {"regex": "(a"}}, "structured_outputs.regex", "unclosed"),
    ("/v1/completions", PLAIN | {"guided_regex": "a", "guided_choice": ["b"]}, "guided_choice", "leave one"),
    (
        "/v1/completions",
        PLAIN | {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
        "structured_outputs.regex",
        "leave one",
    ),
]


@pytest.mark.parametrize(("path", "body", "param", "fix"), BAD_BODIES)
async def test_a_bad_parameter_is_named(rig, path, body, param, fix) -> None:
    status, error, headers = await post(rig, path, body)
    assert status == 400
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert param.split("[")[0] in error["message"]
    assert fix in error["message"]
    assert headers["x-tierline-reason"]


NO_JSON_OBJECTS = [
    b"{",
    b"",
    b"[1,2]",
    b'"text"',
    b"\xff\xfe",
    b'{"model": "m", "prompt": "\xff"}',
    b'{"model": "m", "prompt": "\\ud800"}',
    b'{"model": "m", "prompt": "x", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]


@pytest.mark.parametrize("body", NO_JSON_OBJECTS, ids=range(len(NO_JSON_OBJECTS)))
async def test_a_body_that_is_no_json_object(rig, body) -> None:
    status, error, headers = await post(rig, "/v1/completions", body)
    assert status == 400
    assert "JSON object" in error["message"]
    assert headers["x-tierline-reason"] in {"MalformedJson", "InvalidRequest"}


async def test_a_huge_body(rig) -> None:
    status, error, headers = await post(rig, "/v1/completions", PLAIN | {"prompt": "a" * (4 * 1024 * 1024 + 1)})
    assert status == 413
    assert "4 MiB" in error["message"]
    assert headers["x-tierline-reason"] == "BodyTooLarge"


async def test_a_body_that_never_comes_to_its_end(rig, monkeypatch) -> None:
    monkeypatch.setattr(bodies, "SLOW_BODY_S", 0.05)

    async def half_a_body():
        yield b'{"model": '
        await asyncio.Event().wait()

    sent = {"Authorization": "Bearer key-acme"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{rig.url}/v1/completions", headers=sent, data=half_a_body()) as answer,
    ):
        error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["type"]) == (408, "request_timeout", "invalid_request_error")
    assert "whole body" in error["message"]
    assert answer.headers["x-tierline-reason"] == "SlowBody"


async def test_a_prompt_longer_than_the_model(rig, worker) -> None:
    status, error, headers = await post(rig, "/v1/completions", PLAIN | {"prompt": "a" * 600})
    assert (status, error["code"]) == (400, "context_length_exceeded")
    assert "512" in error["message"]
    assert "600" in error["message"]
    assert headers["x-tierline-reason"] == "ContextLengthExceeded"


async def test_more_output_than_the_window_leaves(rig, worker) -> None:
    status, error, _ = await post(rig, "/v1/completions", PLAIN | {"prompt": "a" * 500, "max_tokens": 20})
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "max_tokens")
    assert "12 or less" in error["message"]


async def test_an_unknown_model_lists_the_models(rig) -> None:
    status, error, _ = await post(rig, "/v1/completions", PLAIN | {"model": "gpt-9"})
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "one of: m" in error["message"]


@pytest.mark.parametrize("header", ["", "Bearer ", "Basic abc", "Bearer wrong"])
async def test_a_missing_or_unknown_key(rig, header) -> None:
    status, error, headers = await post(rig, "/v1/completions", PLAIN, Authorization=header)
    assert (status, error["code"]) == (401, "invalid_api_key")
    assert "Authorization" in error["message"]
    assert headers["x-tierline-reason"] == "InvalidApiKey"


@pytest.mark.parametrize("path", ["/v1/models", "/debug/requests/r1"])
async def test_a_key_of_bytes_that_are_no_text(rig, worker, path) -> None:
    await post(rig, "/v1/completions", PLAIN, x_request_id="r1")
    admin = path.startswith("/debug")
    port = rig.servers.admin_port if admin else rig.servers.http_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + b"Authorization: Bearer \xff\r\n\r\n"
    )
    status_line = await reader.readline()
    writer.close()
    assert status_line.split()[1] == (b"200" if admin else b"401")


async def test_an_unknown_tier_names_the_tenants_tiers(rig) -> None:
    status, error, headers = await post(rig, "/v1/completions", PLAIN, x_tierline_tier="gold")
    assert (status, error["param"]) == (400, "x-tierline-tier")
    assert "interactive, batch" in error["message"]
    assert headers["x-tierline-reason"] == "UnknownTier"


async def test_a_tier_of_others_is_forbidden(rig) -> None:
    status, error, headers = await post(rig, "/v1/completions", PLAIN, x_tierline_tier="secret")
    assert status == 403
    assert "interactive, batch" in error["message"]
    assert headers["x-tierline-reason"] == "TierNotAllowed"


async def test_a_default_tier_that_was_deleted(rig) -> None:
    rig.source.current = policy(tenants=[tenant("acme", default_tier="gone")])
    status, error, _ = await post(rig, "/v1/completions", PLAIN)
    assert status == 400
    assert "spec.defaultTierRef" in error["message"]
    assert "'gone'" in error["message"]


async def test_an_unknown_path(rig) -> None:
    status, error, headers = await post(rig, "/v1/embeddings", PLAIN)
    assert (status, error["code"]) == (404, "not_found")
    assert headers["x-tierline-reason"] == "NotFound"


async def test_unknown_fields_are_ignored(rig, worker) -> None:
    status, _, _ = await post(rig, "/v1/completions", PLAIN | {"unheard_of": {"a": 1}, "frequency_penalty": 0})
    assert status == 200


async def test_the_clients_request_id_comes_back(rig, worker) -> None:
    _, _, headers = await post(rig, "/v1/completions", PLAIN, x_request_id="mine-1")
    assert headers["x-request-id"] == "mine-1"
    _, _, headers = await post(rig, "/v1/completions", PLAIN | {"n": 700}, x_request_id="mine-2")
    assert headers["x-request-id"] == "mine-2"


async def test_before_the_policy_is_there(rig) -> None:
    rig.source.current = None
    status, _, headers = await post(rig, "/v1/completions", PLAIN)
    assert status == 503
    assert headers["x-tierline-reason"] == "NotReady"
    assert headers["Retry-After"] == "1"


async def test_no_worker_for_as_long_as_the_tier_waits(rig) -> None:
    rig.source.current = policy([tier("interactive", 1, max_queue_ms=150)], [tenant("acme", tiers=("interactive",))])
    status, error, headers = await post(rig, "/v1/completions", PLAIN)
    assert status == 503
    assert headers["x-tierline-reason"] == "NoCapacity"
    assert int(headers["Retry-After"]) >= 1
    assert "no worker" in error["message"]


async def test_full_workers_for_as_long_as_the_tier_waits(rig, make_worker) -> None:
    rig.source.current = policy([tier("interactive", 1, max_queue_ms=150)], [tenant("acme", tiers=("interactive",))])
    await make_worker("w0", requests=0)
    status, _, headers = await post(rig, "/v1/completions", PLAIN)
    assert status == 429
    assert headers["x-tierline-reason"] == "Saturated"
    assert int(headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"requests_per_minute": 1}, "requestsPerMinute"),
        ({"tokens_per_minute": 5}, "tokensPerMinute"),
        ({"max_concurrent_requests": 0}, "maxConcurrentRequests"),
    ],
)
async def test_a_used_up_quota_is_named(rig, worker, limits, named) -> None:
    rig.source.current = policy(tenants=[tenant("acme", **limits)])
    await post(rig, "/v1/completions", PLAIN)
    await post(rig, "/v1/completions", PLAIN)
    status, error, headers = await post(rig, "/v1/completions", PLAIN)
    assert status == 429
    assert named in error["message"]
    assert headers["x-tierline-reason"] == "QuotaExceeded"
    assert int(headers["Retry-After"]) >= 1
