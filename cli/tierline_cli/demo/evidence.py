"""From what clients and gateway saw to the records that the scorecard is made from."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tierline.telemetry.audit import StreamAudit, StreamEvidence, audit_stream
from tierline.telemetry.records import Outcome, Placement, Reclaim, RequestRecord
from tierline_cli.demo.client import Observation, TenantClients
from tierline_cli.demo.gateway_debug import GatewayDebug, JournalEntry


@dataclass(frozen=True, slots=True)
class Evidence:
    """One request with every witness of it; `undisturbed_ids` only for streams that were repeated."""

    seen: Observation
    journal: JournalEntry | None
    undisturbed_ids: tuple[int, ...] | None = None

    def audit(self) -> StreamAudit:
        """Count lost and doubled tokens; a refused request has none."""
        if self.seen.outcome is Outcome.REJECTED:
            return StreamAudit()
        return audit_stream(
            StreamEvidence(
                demanded_tokens=self.seen.planned.output_tokens,
                received_ids=tuple(self.seen.token_ids),
                reported_tokens=self.seen.completion_tokens,
                journal_ids=self.journal.emitted_ids if self.journal else None,
                undisturbed_ids=self.undisturbed_ids,
            )
        )

    def left(self, worker: str) -> bool:
        """Whether the stream was moved from `worker` to another one."""
        moves = self.journal.moves if self.journal else ()
        return any(move.source == worker and move.target not in ("", worker) for move in moves)


async def gather_evidence(
    observations: Sequence[Observation], debug: GatewayDebug, api_keys: Mapping[str, str]
) -> list[Evidence]:
    """Join each observation with the gateway's journal of it; `api_keys` are by tenant."""

    async def journal(seen: Observation) -> JournalEntry | None:
        return await debug.journal(seen.request_id, api_keys[seen.planned.tenant]) if seen.request_id else None

    return [Evidence(seen, await journal(seen)) for seen in observations]


async def repeat_undisturbed(evidence: Sequence[Evidence], reclaim: Reclaim, clients: TenantClients) -> list[Evidence]:
    """Run the moved requests again on the workers that are left, and add the ids they yield now."""
    caught = [each for each in evidence if each.left(reclaim.worker)]
    repeats = await asyncio.gather(*(clients.send(each.seen.planned, each.seen.prompt) for each in caught))
    ids = {
        each.seen.request_id: tuple(again.token_ids)
        for each, again in zip(caught, repeats, strict=True)
        if again.outcome is Outcome.OK
    }
    return [replace(each, undisturbed_ids=ids.get(each.seen.request_id)) for each in evidence]


def to_record(evidence: Evidence, audit: StreamAudit, reclaim: Reclaim | None) -> RequestRecord:
    """Return the record of one request."""
    seen, journal = evidence.seen, evidence.journal
    return RequestRecord(
        request_id=seen.request_id or f"unknown-{seen.sent_ms:.0f}",
        tenant=seen.planned.tenant,
        tier=seen.planned.tier,
        arrived_ms=seen.sent_ms,
        prompt_tokens=seen.prompt_tokens or (journal.prompt_tokens if journal else seen.planned.prompt_tokens),
        demanded_tokens=seen.planned.output_tokens,
        outcome=seen.outcome,
        token_times_ms=tuple(seen.token_times_ms),
        placements=placements(seen, journal) if journal else (),
        lost_tokens=audit.lost,
        doubled_tokens=audit.doubled,
        interrupted=reclaim is not None and evidence.left(reclaim.worker),
        detail="; ".join((*([seen.detail] if seen.detail else []), *audit.problems)),
        ended_ms=seen.ended_ms,
    )


def placements(seen: Observation, journal: JournalEntry) -> tuple[Placement, ...]:
    """Split a stream at its moves: each stay lasts from its first to its last token."""
    ends = [*(move.at_emitted for move in journal.moves), len(seen.token_ids)]
    workers = [*(move.source for move in journal.moves), journal.last_worker]
    stays: list[Placement] = []
    begin = 0
    for worker, end in zip(workers, ends, strict=True):
        times = seen.token_times_ms[begin:end]
        if times:
            recomputed = journal.prompt_tokens + begin if begin else 0
            stays.append(Placement(worker, times[0], times[-1], recomputed))
        begin = end
    return tuple(stays)
