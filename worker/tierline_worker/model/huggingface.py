"""Read a Hugging Face model directory: `config.json` and safetensors files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from tierline_worker.errors import ModelError
from tierline_worker.model.config_json import config_from_json
from tierline_worker.model.quantize import Groups4

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class HuggingFaceCheckpoint:
    """A `Checkpoint` in a directory; raises `ModelError` when a part is missing, damaged or not supported."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        raw = self._read_json("config.json")
        self.config = config_from_json(raw, self._stop_ids(raw), directory)
        self._open: dict[str, Any] = {}
        self._file_of = self._find_files()

    def tensor(self, name: str) -> torch.Tensor:
        if name not in self._file_of:
            raise ModelError(self._directory, f"tensor {name} is missing", "fetch the model again")
        try:
            found: torch.Tensor = self._opened(self._file_of[name]).get_tensor(name)
        except SafetensorError as error:
            raise self._damaged(self._file_of[name], error) from error
        return found

    def groups(self, _name: str) -> Groups4 | None:
        return None

    def _stop_ids(self, raw: dict[str, Any]) -> tuple[int, ...]:
        # generation_config.json wins: chat models list their end-of-turn tokens only there.
        generation = self._directory / "generation_config.json"
        chosen = self._read_json(generation.name).get("eos_token_id") if generation.is_file() else None
        stop = raw.get("eos_token_id") if chosen is None else chosen
        if stop is None:
            return ()
        return tuple(stop) if isinstance(stop, list) else (stop,)

    def _find_files(self) -> dict[str, str]:
        if (self._directory / _INDEX).is_file():
            listed = self._read_json(_INDEX).get("weight_map", {})
            return {str(name): str(file) for name, file in listed.items()}
        if not (self._directory / _SINGLE).is_file():
            raise ModelError(self._directory, f"neither {_SINGLE} nor {_INDEX} is there", "save it as safetensors")
        return dict.fromkeys(self._opened(_SINGLE).keys(), _SINGLE)

    def _opened(self, file: str) -> Any:
        if file not in self._open:
            try:
                self._open[file] = safe_open(self._directory / file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise self._damaged(file, error) from error
        return self._open[file]

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self._directory / name).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ModelError(self._directory, f"{name} is missing", "give a Hugging Face model directory") from error
        except (OSError, ValueError) as error:
            raise self._damaged(name, error) from error
        if not isinstance(content, dict):
            raise self._damaged(name, "not a JSON object")
        return content

    def _damaged(self, name: str, error: object) -> ModelError:
        return ModelError(self._directory, f"{name} cannot be read ({error})", "fetch the model again")
