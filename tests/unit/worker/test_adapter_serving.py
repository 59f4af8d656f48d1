"""The whole engine on a tiny model: adapters come and go while requests run, and every answer is exact."""

from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import torch
from engine_testing import Bench
from tiny_adapter import MODULES, write_tiny_adapter

from tierline.artifacts import WeightsStore
from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.wire.frames import Cancel, Iteration, Nack, NackReason, Sampling, Submit, TokenBatch, Welcome
from tierline_worker.adapters.loading import AdapterLoader, AdapterRefused
from tierline_worker.assembly import Loaded, build_engine, load
from tierline_worker.engine.engine import Engine
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import AdapterOffered, AdapterWithdrawn, Cancelled, GatewayJoined, Submitted
from tierline_worker.errors import AdapterError, SettingsError
from tierline_worker.http_server import Probe, Probes, serve_http
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.settings import WorkerSettings

NEW = 12
PROMPTS = [
    [int(token) for token in np.random.default_rng(length).integers(0, 256, length)] for length in (40, 9, 70, 23)
]
NAMES = ("red", "green", "blue")


@pytest.fixture(scope="module")
def paths(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("adapters")
    return {
        "red": write_tiny_adapter(home / "red", tiny_path, 1, rank=4),
        "green": write_tiny_adapter(home / "green", tiny_path, 2, rank=2, modules=MODULES[:4]),
        "blue": write_tiny_adapter(home / "blue", tiny_path, 3, rank=3, modules=MODULES[4:]),
        "other": write_tiny_adapter(home / "other", tiny_path, 4, rank=2),
    }


@pytest.fixture(scope="module")
def expected(tiny_path: Path, paths: dict[str, Path]) -> dict[tuple[str, int], list[int]]:
    """Each answer alone; that these equal merged models is proved elsewhere."""
    bench = Bench.load(tiny_path, blocks=1024)
    for name, path in paths.items():
        bench.adapt(name, path)
    return {
        (name, at): bench.generate(prompt, NEW, adapter=name)
        for name in (*paths, "")
        for at, prompt in enumerate(PROMPTS)
    }


def environment(tiny_path: Path, **changes: str) -> dict[str, str]:
    return {
        "TIERLINE_MODEL_SOURCE": str(tiny_path),
        "TIERLINE_MODEL_NAME": "tiny",
        "TIERLINE_KV_CACHE_BLOCKS": "400",
        "TIERLINE_BLOCK_TOKENS": "4",
        "TIERLINE_MAX_MODEL_TOKENS": "160",
        "TIERLINE_MAX_RUNNING_REQUESTS": "8",
        "TIERLINE_MAX_BATCHED_TOKENS": "24",
        "TIERLINE_MAX_ADAPTERS": "3",
    } | changes


class Rig:
    """An engine without a thread, whose core checks itself after each step."""

    def __init__(self, tiny_path: Path, paths: dict[str, Path], names: tuple[str, ...] = NAMES, **env: str) -> None:
        listed = ",".join(f"{name}={paths[name]}" for name in names)
        settings = WorkerSettings.from_env(environment(tiny_path, TIERLINE_ADAPTERS=listed, **env))
        self.loaded: Loaded = load(settings)
        self.engine: Engine = build_engine(settings, self.loaded, WorkerMetrics("tiny"), Progress(30.0))
        core = CheckedSchedulerCore(self.loaded.limits, self.engine._core.latency)
        self.loaded.adapters.register_all(core)
        self.engine._core = core
        self.core = core
        (self.welcome, *_) = [item.frame for item in self.engine.handle(GatewayJoined(1))]
        self.tokens: dict[str, list[int]] = {}
        self.told: tuple = self.welcome.adapters

    def submit(self, name: str, prompt: int, adapter: str, **fields: object) -> list:
        frame = Submit(name, 1, tuple(PROMPTS[prompt]), Sampling(NEW, ignore_eos=True), adapter=adapter, **fields)
        self.tokens.setdefault(name, [])
        return [item.frame for item in self.engine.handle(Submitted(1, frame))]

    def step(self) -> None:
        for item in self.engine.step():
            assert isinstance(item.frame, Iteration)
            self.hear(item.frame)

    def hear(self, frame: Iteration) -> None:
        self.told = self.told if frame.adapters is None else frame.adapters
        for batch in frame.tokens:
            assert isinstance(batch, TokenBatch)
            assert not batch.error
            self.tokens[batch.request_id] += batch.token_ids

    def run(self) -> None:
        while self.engine.busy:
            self.step()

    def offer(self, name: str, path: Path, replace: bool = False) -> str:
        answers: list[str] = []
        adapter = self.loaded.adapter_format.read(path)
        self.engine.handle(AdapterOffered(name, adapter, replace, answers.append))
        return answers[0]

    def withdraw(self, name: str) -> str:
        answers: list[str] = []
        self.engine.handle(AdapterWithdrawn(name, answers.append))
        return answers[0]


@pytest.fixture
def rig(tiny_path, paths) -> Iterator[Rig]:
    torch.set_num_threads(1)
    return Rig(tiny_path, paths)


def test_three_adapters_and_none_in_one_batch(rig, expected):
    for at, name in enumerate((*NAMES, "")):
        assert rig.submit(name or "base", at, name) == []
    rig.run()
    assert {name: rig.tokens[name or "base"] for name in (*NAMES, "")} == {
        name: expected[name, at] for at, name in enumerate((*NAMES, ""))
    }


def test_more_adapters_than_places(tiny_path, paths, expected):
    rig = Rig(tiny_path, paths, TIERLINE_MAX_ADAPTERS="1")
    for at, name in enumerate((*NAMES, "", *NAMES)):
        rig.submit(f"{at}", at % len(PROMPTS), name)
    rig.run()
    for at, name in enumerate((*NAMES, "", *NAMES)):
        assert rig.tokens[f"{at}"] == expected[name, at % len(PROMPTS)]
    assert rig.core.counters.adapter_loads >= 3


def test_preempted_for_blocks_and_adapters_evicted_under_pressure(tiny_path, paths, expected):
    rig = Rig(tiny_path, paths, TIERLINE_KV_CACHE_BLOCKS="72")
    waiting = [(turn, at, name) for turn in range(3) for at, name in enumerate((*NAMES, ""))]
    while waiting:
        turn, at, name = waiting[0]
        if rig.submit(f"{name}{turn}", at, name, priority=turn) == []:
            waiting.pop(0)
        rig.step()
    rig.run()
    for turn in range(3):
        for at, name in enumerate((*NAMES, "")):
            assert rig.tokens[f"{name}{turn}"] == expected[name, at]
    assert rig.core.counters.preemptions_recompute + rig.core.counters.adapter_evictions > 0


def test_unloaded_while_it_is_in_use_and_loaded_again(rig, paths, expected):
    rig.submit("old", 0, "red")
    for _ in range(3):
        rig.step()
    assert rig.withdraw("red") == ""
    (nack,) = rig.submit("refused", 1, "red")
    assert nack == Nack("refused", 1, NackReason.UNKNOWN_ADAPTER)
    assert rig.offer("red", paths["other"]) == ""
    rig.submit("new", 0, "red")
    rig.run()
    assert rig.tokens["old"] == expected["red", 0]
    assert rig.tokens["new"] == expected["other", 0]
    rig.engine.publish({})
    assert len(rig.loaded.adapters._weights) == len(NAMES)


def test_a_changed_adapter_in_place(rig, paths, expected):
    assert "already been loaded" in rig.offer("red", paths["other"])
    assert rig.offer("red", paths["other"], replace=True) == ""
    rig.submit("a", 2, "red")
    rig.run()
    assert rig.tokens["a"] == expected["other", 2]


def test_unknown_adapters_are_refused_and_said(rig):
    (nack,) = rig.submit("a", 0, "pink")
    assert (nack.reason, rig.withdraw("pink")) == (
        NackReason.UNKNOWN_ADAPTER,
        "The lora adapter 'pink' cannot be found.",
    )


def test_gateways_learn_what_is_served_and_resident(rig, paths):
    assert isinstance(rig.welcome, Welcome)
    assert [(state.name, state.resident) for state in rig.welcome.adapters] == [
        ("blue", False), ("green", False), ("red", False)
    ]  # fmt: skip
    rig.submit("a", 0, "red")
    rig.run()
    assert [state.name for state in rig.told if state.resident] == ["red"]
    rig.withdraw("red")
    for item in rig.engine.publish({}):
        rig.hear(item.frame)
    assert [state.name for state in rig.told] == ["blue", "green"]
    assert rig.engine.publish({}) == []


def test_a_cancelled_request_lets_its_adapter_go(rig):
    rig.submit("a", 0, "red")
    rig.step()
    rig.engine.handle(Cancelled(1, Cancel("a", 1)))
    rig.run()
    assert rig.withdraw("red") == ""
    assert rig.core.memory.pages == 0


def test_after_an_error_in_the_core_the_adapters_are_still_served(rig, expected):
    rig.submit("lost", 0, "red")
    rig.engine._core = None
    frames = [item.frame for item in rig.engine.step()]
    assert frames[0].tokens[0].finish_reason == "failed"
    rig.submit("a", 0, "red")
    rig.run()
    assert rig.tokens["a"] == expected["red", 0]


def test_adapters_of_the_environment_that_cannot_be_served(tiny_path, paths, tmp_path):
    with pytest.raises(SettingsError, match="TIERLINE_MAX_ADAPTERS"):
        Rig(tiny_path, paths, TIERLINE_MAX_ADAPTERS="0")
    with pytest.raises(AdapterError, match="TIERLINE_KV_CACHE_BLOCKS"):
        Rig(tiny_path, paths, TIERLINE_KV_CACHE_BLOCKS="6", TIERLINE_MAX_MODEL_TOKENS="20")
    with pytest.raises(AdapterError, match="adapter_config"):
        Rig(tiny_path, {"red": tmp_path}, names=("red",))
    with pytest.raises(AdapterError, match="own name"):
        Rig(tiny_path, {"tiny": paths["red"]}, names=("tiny",))


class TestEndpoints:
    @pytest.fixture
    async def client(self, rig, paths, tiny_path):
        allowed = (str(paths["red"].parent),)
        made = AdapterLoader(
            rig.loaded.adapter_format, rig.engine.handle, WeightsStore(Path("/nowhere")), allowed, taken="tiny"
        )
        self.loader: AdapterLoader | None = made
        probes = Probes(Probe, Probe, Probe, lambda: b"")
        runner = await serve_http(probes, lambda: self.loader, "127.0.0.1", 0)
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
        await runner.cleanup()

    @staticmethod
    async def post(client: aiohttp.ClientSession, verb: str, body: object) -> tuple[int, object]:
        async with client.post(f"/v1/{verb}_lora_adapter", json=body) as response:
            if response.content_type == "application/json":
                return response.status, (await response.json())["error"]["message"]
            return response.status, await response.text()

    @staticmethod
    async def listed(client: aiohttp.ClientSession) -> dict[str, tuple[str, bool, bool]]:
        async with client.get("/v1/lora_adapters") as response:
            adapters = (await response.json())["adapters"]
        return {it["lora_name"]: (it["lora_path"], it["resident"], it["in_use"]) for it in adapters}

    async def test_load_use_unload(self, client, rig, paths, expected):
        body = {"lora_name": "poems", "lora_path": str(paths["other"])}
        assert await self.post(client, "load", body) == (200, "Success: LoRA adapter 'poems' added successfully.")
        assert (await self.post(client, "load", body))[0] == 400
        assert (await self.post(client, "load", {**body, "load_inplace": True}))[0] == 200
        rig.submit("a", 0, "poems")
        rig.run()
        assert rig.tokens["a"] == expected["other", 0]
        assert await self.listed(client) == {
            **dict.fromkeys(NAMES, ("", False, False)),
            "poems": (str(paths["other"]), True, False),
        }
        status, text = await self.post(client, "unload", {"lora_name": "poems"})
        assert (status, text) == (200, "Success: LoRA adapter 'poems' removed successfully.")
        assert (await self.post(client, "unload", {"lora_name": "poems"}))[0] == 404

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({"lora_name": "x", "lora_path": "/etc"}, "TIERLINE_ADAPTER_SOURCES"),
            ({"lora_name": "x", "lora_path": "{allowed}/../x"}, "TIERLINE_ADAPTER_SOURCES"),
            ({"lora_name": "x", "lora_path": "{allowed}/gone"}, "no such folder"),
            ({"lora_name": "../x", "lora_path": "{allowed}/red"}, "lora_name"),
            ({"lora_name": "a:b", "lora_path": "{allowed}/red"}, "lora_name"),
            ({"lora_name": "tiny", "lora_path": "{allowed}/red"}, "own name"),
            ({"lora_name": "x", "lora_path": "{allowed}"}, "adapter_config.json"),
            ({"lora_name": "x"}, "lora_path"),
            ({"lora_name": 3, "lora_path": "x"}, "lora_name"),
            ([], "body"),
        ],
    )
    async def test_what_cannot_be_loaded_is_named(self, client, paths, body, named):
        if isinstance(body, dict) and "lora_path" in body:
            body = body | {"lora_path": body["lora_path"].replace("{allowed}", str(paths["red"].parent))}
        status, message = await self.post(client, "load", body)
        assert status == 400
        assert named in message

    async def test_before_the_model_is_there(self, client, paths):
        self.loader = None
        status, _ = await self.post(client, "load", {"lora_name": "x", "lora_path": str(paths["red"])})
        assert status == 503

    async def test_an_engine_that_does_not_answer(self, rig, paths, monkeypatch):
        monkeypatch.setattr("tierline_worker.adapters.loading.ENGINE_PATIENCE_S", 0.0)
        loader = AdapterLoader(
            rig.loaded.adapter_format, lambda _: None, WeightsStore(Path("/x")), ("/",), taken="tiny"
        )
        with pytest.raises(AdapterRefused) as caught:
            await loader.load("poems", str(paths["red"]), replace=False)
        assert caught.value.status == 503
