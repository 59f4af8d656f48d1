"""A promise to answer one request later."""

from enum import StrEnum
from typing import Any

import msgspec

from tierline_gateway.deferred.store import Record

KIND = "ticket"
KEPT_S = 24 * 3600.0
"""So long a result can be fetched, and so long a request is tried."""


class TicketStatus(StrEnum):
    """Where a ticket is; the last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Ticket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One ticket; times are epoch seconds, `eta_s` is the prediction when it was given, as seconds from then."""

    id: str
    tenant: str
    path: str
    tier: str
    created_s: float
    eta_s: float
    status: TicketStatus = TicketStatus.QUEUED
    ended_s: float = 0.0
    http_status: int = 0
    response: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def over(self) -> bool:
        return self.status not in (TicketStatus.QUEUED, TicketStatus.RUNNING)

    @property
    def expires_s(self) -> float:
        return (self.ended_s or self.created_s) + KEPT_S

    def ended(self, status: TicketStatus, now_s: float, http_status: int = 0, response: bytes = b"null") -> "Ticket":
        """Return the ticket with its end: the response that the client would have got, or the error."""
        return msgspec.structs.replace(
            self, status=status, ended_s=now_s, http_status=http_status, response=msgspec.Raw(response)
        )

    def retry_after_s(self, now_s: float) -> int:
        """Return when to ask again: what is left of the prediction, and soon when that is over."""
        return 0 if self.over else max(1, min(round(self.created_s + self.eta_s - now_s), 60))

    def shown(self) -> dict[str, Any]:
        """Return what its owner is told; `response` is the very object that a waiting client would have got."""
        failed = self.status is TicketStatus.FAILED
        return {
            "id": self.id,
            "object": "tierline.request",
            "status": str(self.status),
            "endpoint": self.path,
            "created_at": int(self.created_s),
            "eta_seconds": round(self.eta_s, 3),
            "ended_at": int(self.ended_s) or None,
            "expires_at": int(self.expires_s),
            "http_status": self.http_status or None,
            "response": None if failed else self.response,
            "error": self.response if failed else None,
        }

    def record(self, body: bytes) -> Record:
        return Record(KIND, self.id, self.tenant, msgspec.json.encode(self), body, self.expires_s)


def ticket_of(record: Record) -> Ticket:
    return msgspec.json.decode(record.document, type=Ticket)
