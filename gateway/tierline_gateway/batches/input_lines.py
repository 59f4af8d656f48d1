"""The lines of an input file: how they are cut from its chunks, what each must hold, and what is wrong with one."""

from collections.abc import Callable, Iterator

import msgspec

from tierline_gateway.batches.batch import LineProblem
from tierline_gateway.front.api_errors import ApiError
from tierline_gateway.front.openai_requests import decode_request

MAX_LINES = 50_000
MAX_LINE_BYTES = 1024 * 1024
MAX_CUSTOM_ID_CHARACTERS = 256
MAX_PROBLEMS = 50
"""So many problems are told; a file has seldom more than one cause of them."""


class InputLine(msgspec.Struct, frozen=True):
    """One request of a batch, as OpenAI's format has it."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _BodyHead(msgspec.Struct, frozen=True):
    model: str
    stream: bool | None = None


class LineTooLong(Exception):
    """A line is over `MAX_LINE_BYTES`; `args` has its number."""


class LineCutter:
    """Cuts chunks into numbered lines; empty ones count and are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._number = 0

    def cut(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are complete now; raises `LineTooLong`."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield from self._numbered(line)
        if len(self._rest) > MAX_LINE_BYTES:
            raise LineTooLong(self._number + 1)

    def end(self) -> Iterator[tuple[int, bytes]]:
        """Yield the last line, where it has no end of its own."""
        yield from self._numbered(self._rest)

    def _numbered(self, line: bytes) -> Iterator[tuple[int, bytes]]:
        self._number += 1
        if len(line) > MAX_LINE_BYTES:
            raise LineTooLong(self._number)
        if line.strip():
            yield self._number, line


class InputCheck:
    """Reads all lines of a file, once, and collects what is wrong with them; `endpoint` is the batch's own."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._models: set[str] = set()
        self._custom_ids: set[str] = set()
        self.lines = 0
        self.problems: list[LineProblem] = []

    @property
    def given_up(self) -> bool:
        return len(self.problems) >= MAX_PROBLEMS or self.lines > MAX_LINES

    @property
    def model(self) -> str | None:
        """The model of all lines, None where they name several."""
        return next(iter(self._models)) if len(self._models) == 1 else None

    def read(self, number: int, raw: bytes) -> None:
        self.lines += 1
        if self.lines > MAX_LINES:
            message = f"The file has more than {MAX_LINES} lines; split it into several batches."
            self.problems.append(LineProblem("too_many_lines", message, None, number))
            return
        try:
            self._read(decode_request(InputLine, raw))
        except ApiError as error:
            self.problems.append(LineProblem(error.code or "invalid_json_line", error.message, error.param, number))

    def too_long(self, number: int) -> None:
        message = f"The line is over {MAX_LINE_BYTES} bytes; shorten its request."
        self.problems.append(LineProblem("line_too_long", message, None, number))

    def ended(self) -> tuple[LineProblem, ...]:
        """Return everything that is wrong, nothing where the file is sound."""
        if not self.lines and not self.problems:
            self.problems.append(LineProblem("empty_file", "The file has no lines; add one JSON object a line."))
        return tuple(self.problems)

    def _read(self, line: InputLine) -> None:
        self._must(0 < len(line.custom_id) <= MAX_CUSTOM_ID_CHARACTERS, "custom_id", _CUSTOM_ID, "invalid_custom_id")
        new = line.custom_id not in self._custom_ids
        self._must(new, "custom_id", "is used by an earlier line: give each its own", "duplicate_custom_id")
        self._custom_ids.add(line.custom_id)
        self._must(line.method == "POST", "method", "must be POST", "invalid_method")
        same = f"must be the batch's endpoint {self._endpoint}"
        self._must(line.url == self._endpoint, "url", same, "mismatched_endpoint")
        head = _within_body(lambda: decode_request(_BodyHead, bytes(line.body)))
        self._must(not head.stream, "body.stream", "must be false or left out: answers come in a file", "invalid_value")
        self._models.add(head.model)

    def _must(self, holds: bool, field: str, rule: str, code: str) -> None:
        if not holds:
            raise ApiError(400, f"'{field}' {rule}.", "InvalidRequest", param=field, code=code)


_CUSTOM_ID = f"must have 1 to {MAX_CUSTOM_ID_CHARACTERS} characters"


def _within_body(decode: Callable[[], _BodyHead]) -> _BodyHead:
    """Name fields of the body as the line has them."""
    try:
        return decode()
    except ApiError as error:
        field = f"body.{error.param}" if error.param else "body"
        named = error.message.replace(f"'{error.param}'", f"'{field}'") if error.param else f"'body': {error.message}"
        raise ApiError(400, named, error.reason, param=field, code=error.code or "invalid_json_line") from None
