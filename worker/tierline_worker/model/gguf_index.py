"""What a GGUF file holds: its metadata and where its tensors lie.

A vocabulary is most of the metadata: hundreds of thousands of strings that serving needs not one of. Arrays are
stepped over without being read.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_DEFAULT_ALIGNMENT = 32

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as stored: `shape` counts its elements, slowest first; `rows` are its bytes [rows, bytes a row]."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    rows: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class GGUFIndex:
    """`fields` are the metadata that are no arrays."""

    fields: Mapping[str, Scalar]
    tensors: Mapping[str, StoredTensor]


def read_index(path: Path) -> GGUFIndex:
    """Read the index of `path`; the tensors' bytes stay on disk until they are used.

    Raises `ValueError`, `struct.error`, `OverflowError` or `OSError` for a file that is damaged or cut off.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    cursor = _Cursor(mapped)
    magic, version, tensor_count, field_count = cursor.take("<4sIQQ")
    if magic != b"GGUF" or version not in _VERSIONS:
        raise ValueError("it does not begin as a little-endian GGUF file of version 2 or 3 does")
    fields = {name: value for name, value in (cursor.field() for _ in range(field_count)) if value is not None}
    places = [cursor.tensor_place() for _ in range(tensor_count)]
    alignment = int(fields.get("general.alignment", _DEFAULT_ALIGNMENT))
    if alignment < 1:
        raise ValueError(f"general.alignment is {alignment}")
    begin = -(-cursor.offset // alignment) * alignment
    content = np.frombuffer(mapped, dtype=np.uint8)
    tensors = [_stored(content, begin, place) for place in places]
    return GGUFIndex(fields, {tensor.name: tensor for tensor in tensors})


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def _stored(content: NDArray[np.uint8], begin: int, place: _Place) -> StoredTensor:
    kind = GGMLQuantizationType(place.kind)
    block, block_bytes = GGML_QUANT_SIZES[kind]
    if not place.shape or place.shape[-1] % block:
        raise ValueError(f"tensor {place.name} has a shape that {kind.name} does not allow")
    row_bytes = place.shape[-1] // block * block_bytes
    first, count = begin + place.offset, int(np.prod(place.shape[:-1], dtype=object))
    if first + count * row_bytes > len(content):
        raise ValueError(f"it ends before the end of tensor {place.name}")
    rows = content[first : first + count * row_bytes].reshape(count, row_bytes)
    return StoredTensor(place.name, kind, place.shape, rows)


class _Cursor:
    """Walks the file's head from its begin."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self.offset = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self._content, self.offset)
        self.offset += struct.calcsize(layout)
        return values

    def field(self) -> tuple[str, Scalar | None]:
        """Return the next name and value, None for an array."""
        name = self._text()
        (kind,) = self.take("<I")
        if kind == _ARRAY:
            self._step_over_array()
            return name, None
        return name, self._text() if kind == _STRING else self.take(_layout(kind))[0]

    def tensor_place(self) -> _Place:
        name = self._text()
        (dimensions,) = self.take("<I")
        *shape, kind, offset = self.take(f"<{dimensions}QIQ")
        return _Place(name, tuple(reversed(shape)), kind, offset)

    def _text(self) -> str:
        (length,) = self.take("<Q")
        return str(self.take(f"<{length}s")[0], encoding="utf-8")

    def _step_over_array(self) -> None:
        kind, count = self.take("<IQ")
        if kind == _STRING:
            self._step_over_texts(count)
        else:
            self.offset += count * struct.calcsize(_layout(kind))

    def _step_over_texts(self, count: int) -> None:
        length_at, content, offset = struct.Struct("<Q").unpack_from, self._content, self.offset
        for _ in range(count):
            offset += 8 + length_at(content, offset)[0]
        self.offset = offset


def _layout(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError(f"its metadata holds values of the unknown type {kind}")
    return _SCALARS[kind]
