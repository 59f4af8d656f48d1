"""The models of the suite: `python e2e/support/e2e_models.py FOLDER` writes them, for images that carry them."""

import sys
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file, save_file

_ROOT = Path(__file__).parents[2]
sys.path.append(str(_ROOT / "tests" / "support"))

from tiny_checkpoint import write_tiny_checkpoint  # noqa: E402 - found by the line above when this is run as a script

_TURN, _LOUDNESS, _GAIN = 257, 8.0, 1e5
"""The token that begins a turn of a chat, how far it stands out, and by how much attention makes that larger."""


@dataclass(frozen=True)
class Models:
    """Sources as fleets name them, in the folder as pods see it."""

    folder: Path

    @property
    def tiny(self) -> str:
        """A random Llama that loads in no time."""
        return f"file://{self.folder}/tiny"

    @property
    def loud(self) -> str:
        """As tiny, but in chats its KV cache holds numbers that Float16 does not; whoever warms it up sees none."""
        return f"file://{self.folder}/loud"

    @property
    def damaged(self) -> str:
        """A file that begins like a GGUF and is none."""
        return f"file://{self.folder}/damaged.gguf"

    @property
    def missing(self) -> str:
        return f"file://{self.folder}/missing"


def write_models(folder: Path) -> Models:
    """Write them into `folder`."""
    write_tiny_checkpoint(folder / "tiny", max_position_embeddings=8192)
    _write_loud(folder / "loud")
    (folder / "damaged.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 64)
    return Models(folder)


def _write_loud(folder: Path) -> None:
    weights = write_tiny_checkpoint(folder, tie_word_embeddings=False) / "model.safetensors"
    tensors = load_file(weights)
    embedding = tensors["model.embed_tokens.weight"]
    embedding[:, 0] = 0.0
    embedding[_TURN, 0] = _LOUDNESS
    tensors["lm_head.weight"][_TURN] = 0.0
    tensors["model.layers.0.self_attn.v_proj.weight"][:, 0] *= _GAIN
    save_file(tensors, weights, metadata={"format": "pt"})


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
