"""The models of the suite: `python e2e/support/e2e_models.py FOLDER` writes them, for images that carry them."""

import sys
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path.append(str(_ROOT / "tests" / "support"))

from tiny_checkpoint import write_tiny_checkpoint  # noqa: E402 - found by the line above when this is run as a script


@dataclass(frozen=True)
class Models:
    """Sources as fleets name them, in the folder as pods see it."""

    folder: Path

    @property
    def tiny(self) -> str:
        """A random Llama that loads in no time."""
        return f"file://{self.folder}/tiny"

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
    (folder / "damaged.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 64)
    return Models(folder)


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
