"""Which device a worker takes."""

import pytest
import torch

from tierline_worker.device.choice import choose_device
from tierline_worker.errors import SettingsError
from tierline_worker.settings import WorkerSettings

SOURCE = {"TIERLINE_MODEL_SOURCE": "/models/m"}


@pytest.mark.parametrize("value", ["auto", "cpu", "cuda", "cuda:3"])
def test_devices_are_named_as_torch_names_them(value) -> None:
    assert WorkerSettings.from_env({**SOURCE, "TIERLINE_DEVICE": value}).device == value


def test_nothing_is_set_for_what_the_machine_has() -> None:
    assert WorkerSettings.from_env(SOURCE).device == "auto"


@pytest.mark.parametrize("value", ["gpu", "cuda:", "cuda:x", "mps"])
def test_other_names_are_refused(value) -> None:
    with pytest.raises(SettingsError, match=r"TIERLINE_DEVICE is .*auto, cpu, cuda"):
        WorkerSettings.from_env({**SOURCE, "TIERLINE_DEVICE": value})


def test_without_a_gpu_auto_is_the_cpu_and_asking_for_one_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(SettingsError, match="finds no GPU 0"):
        choose_device("cuda:0")


def test_auto_takes_the_first_gpu_and_a_number_must_exist(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(SettingsError, match="cuda:2"):
        choose_device("cuda:2")
