"""Settings from the environment: every bad value is named with its legal range."""

from pathlib import Path

import pytest
import torch

from tierline_worker.errors import SettingsError
from tierline_worker.settings import WorkerSettings

GOOD = {"TIERLINE_MODEL_SOURCE": "/models/m.gguf"}


def test_defaults_suit_a_worker_started_by_hand():
    settings = WorkerSettings.from_env(GOOD)
    assert settings.model_name == "/models/m.gguf"
    assert (settings.wire_port, settings.http_port) == (7070, 7071)
    assert settings.dtype is torch.float32
    assert settings.termination_log is None


def test_what_the_operator_sets_is_read():
    environ = {
        **GOOD,
        "TIERLINE_MODEL_NAME": "smol",
        "TIERLINE_MODEL_DTYPE": "BFloat16",
        "TIERLINE_KV_CACHE_BLOCKS": "64",
        "TIERLINE_BLOCK_TOKENS": "8",
        "TIERLINE_MAX_MODEL_TOKENS": "512",
        "TIERLINE_BIND_HOST": "127.0.0.9",
        "POD_NAME": "chat-0",
        "TIERLINE_CACHE_DIR": "/cache",
        "TIERLINE_TERMINATION_LOG": "/tmp/last",
    }
    settings = WorkerSettings.from_env(environ)
    assert (settings.model_name, settings.worker_id, settings.bind_host) == ("smol", "chat-0", "127.0.0.9")
    assert (settings.kv_cache_blocks, settings.block_tokens, settings.max_model_tokens) == (64, 8, 512)
    assert (settings.cache_dir, settings.termination_log) == (Path("/cache"), Path("/tmp/last"))
    assert settings.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TIERLINE_MODEL_SOURCE", "", "set it to the fleet's model.source"),
        ("TIERLINE_MODEL_DTYPE", "Int4", "Float32, BFloat16, Float16"),
        ("TIERLINE_KV_CACHE_BLOCKS", "1", "2 or more, or to 0"),
        ("TIERLINE_KV_CACHE_BLOCKS", "many", "'many'"),
        ("TIERLINE_BLOCK_TOKENS", "-4", "from 1 to 512"),
        ("TIERLINE_MAX_RUNNING_REQUESTS", "1.5", "from 1 to 65536"),
        ("TIERLINE_MAX_BATCHED_TOKENS", "8", "set it to TIERLINE_MAX_RUNNING_REQUESTS (32) or more"),
        ("TIERLINE_MAX_MODEL_TOKENS", "99999999", "from 2 to 16384"),
        ("TIERLINE_THREADS", "0", "from 1 to 512"),
        ("TIERLINE_WIRE_PORT", "70000", "from 1 to 65535"),
        ("TIERLINE_DRAIN_SECONDS", "-1", "from 0 to 86400"),
    ],
)
def test_bad_values_name_the_variable_and_the_range(name, value, words):
    with pytest.raises(SettingsError) as caught:
        WorkerSettings.from_env({**GOOD, name: value})
    assert str(caught.value).startswith(name)
    assert words in str(caught.value)
