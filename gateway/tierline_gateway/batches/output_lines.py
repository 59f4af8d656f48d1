"""The lines of output and error files, by OpenAI's format."""

from types import MappingProxyType
from typing import Any

import msgspec

from tierline_gateway.batches.batch import KIND, Unanswered
from tierline_gateway.deferred.store import Record
from tierline_gateway.front.api_errors import ApiError

LINE = "batch_line"
_ANSWERED, _FAILED = b"answered", b"failed"
_WHY = MappingProxyType(
    {
        Unanswered.EXPIRED: "The completion window ended before this request was answered.",
        Unanswered.CANCELLED: "The batch was cancelled before this request was answered.",
        Unanswered.STORAGE: "The tenant keeps as much as it may; delete files and send this request again.",
        Unanswered.NOTHING: "This request was not answered; send it again.",
    }
)


def line_id(batch_id: str, number: int) -> str:
    """Return the id under which a line's end is kept; ids of a batch sort by line."""
    return f"{batch_id}/{number:08d}"


def answered_line(batch_id: str, number: int, custom_id: str, request_id: str, response: bytes) -> bytes:
    """Return the line of an answer; `response` is the very object that a waiting client would have got."""
    answer = {"status_code": 200, "request_id": request_id, "body": msgspec.Raw(response)}
    return _line(batch_id, number, custom_id, answer, None)


def refused_line(batch_id: str, number: int, custom_id: str, request_id: str, error: ApiError) -> bytes:
    """Return the line of a request that a waiting client would have been refused."""
    answer = {"status_code": error.status, "request_id": request_id, "body": {"error": error.error_object()}}
    return _line(batch_id, number, custom_id, answer, None)


def unanswered_line(batch_id: str, number: int, custom_id: str, why: Unanswered) -> bytes:
    """Return the line of a request that was never answered."""
    return _line(batch_id, number, custom_id, None, {"code": str(why) or "not_answered", "message": _WHY[why]})


def line_record(batch_id: str, number: int, tenant: str, line: bytes, expires_s: float, *, answered: bool) -> Record:
    """Return what is kept of a line's end until the files are written."""
    told = _ANSWERED if answered else _FAILED
    return Record(LINE, line_id(batch_id, number), tenant, told, line, expires_s)


def is_answered(record: Record) -> bool:
    return record.document == _ANSWERED


def _line(batch_id: str, number: int, custom_id: str, response: Any, error: Any) -> bytes:
    request = f"{KIND}_req_{batch_id.removeprefix(f'{KIND}_')}_{number}"
    shown = {"id": request, "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(shown) + b"\n"
