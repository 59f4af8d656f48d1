"""The key-value header of a GGUF file, as plain Python values."""

from dataclasses import dataclass
from pathlib import Path

import gguf

from tierline.text.tokenizer import TokenizerError


@dataclass(frozen=True, slots=True)
class GGUFMetadata:
    """Typed access to the header; a missing key that is needed raises `TokenizerError` naming it."""

    path: Path
    values: dict[str, object]

    def text(self, key: str, default: str = "") -> str:
        value = self.values.get(key, default)
        return value if isinstance(value, str) else default

    def integer(self, key: str, default: int = 0) -> int:
        value = self.values.get(key, default)
        return value if isinstance(value, int) else default

    def flag(self, key: str, default: bool = False) -> bool:
        return bool(self.values.get(key, default))

    def texts(self, key: str) -> list[str]:
        value = self.values.get(key)
        if not isinstance(value, list) or not value:
            raise TokenizerError(f"{self.path} has no {key}; use a GGUF that carries its tokenizer")
        return [str(item) for item in value]

    def integers(self, key: str) -> list[int]:
        value = self.values.get(key)
        return [int(item) for item in value] if isinstance(value, list) else []


def read_gguf_metadata(path: Path) -> GGUFMetadata:
    """Read the header of `path`; raises `TokenizerError` when the file is cut off or corrupt."""
    try:
        reader = gguf.GGUFReader(path)
        values = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, OSError, UnicodeDecodeError, OverflowError) as error:
        raise TokenizerError(f"{path} is a corrupt GGUF ({error}); fetch it again") from error
    return GGUFMetadata(path, values)
