"""Was a token lost or doubled? The answer from ids, not from trust in counters.

Each stream is checked against three witnesses: the length it demanded, the gateway's journal of what it delivered,
and, where given, the ids of an undisturbed greedy run of the same prompt. The last one finds what counts cannot: a
doubled token that pushed out the last one.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamEvidence:
    """What is known of one stream; None where a witness is missing. `demanded_tokens` is exact (EOS ignored)."""

    demanded_tokens: int
    received_ids: tuple[int, ...]
    reported_tokens: int | None = None
    journal_ids: tuple[int, ...] | None = None
    undisturbed_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class StreamAudit:
    """Tokens lost and doubled, and every finding in words (changed tokens are one, too)."""

    lost: int = 0
    doubled: int = 0
    problems: tuple[str, ...] = ()


def audit_stream(evidence: StreamEvidence) -> StreamAudit:
    """Compare a stream with its witnesses; the worst one counts."""
    received = evidence.received_ids
    findings = [_by_count(evidence.demanded_tokens, len(received))]
    if evidence.reported_tokens is not None:
        findings.append(_by_count(evidence.reported_tokens, len(received), "usage reports"))
    if evidence.journal_ids is not None:
        findings.append(_by_ids(evidence.journal_ids, received, "the gateway's journal"))
    if evidence.undisturbed_ids is not None:
        findings.append(_by_ids(evidence.undisturbed_ids, received, "the undisturbed run"))
    return StreamAudit(
        lost=max(finding.lost for finding in findings),
        doubled=max(finding.doubled for finding in findings),
        problems=tuple(problem for finding in findings for problem in finding.problems),
    )


def _by_count(expected: int, received: int, witness: str = "the request demands") -> StreamAudit:
    if received == expected:
        return StreamAudit()
    problem = f"received {received} tokens, {witness} {expected}"
    return StreamAudit(max(expected - received, 0), max(received - expected, 0), (problem,))


def _by_ids(expected: Sequence[int], received: Sequence[int], witness: str) -> StreamAudit:
    if tuple(expected) == tuple(received):
        return StreamAudit()
    at = _first_difference(expected, received)
    where = f"from position {at} on the stream differs from {witness}"
    doubled = _shift(received, expected, at)
    if doubled:
        return StreamAudit(doubled=doubled, problems=(f"{where}: {doubled} doubled",))
    lost = _shift(expected, received, at)
    if lost:
        return StreamAudit(lost=lost, problems=(f"{where}: {lost} lost",))
    return StreamAudit(problems=(f"{where}: other tokens",))


def _first_difference(expected: Sequence[int], received: Sequence[int]) -> int:
    pairs = zip(expected, received, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(expected), len(received)))


def _shift(longer: Sequence[int], shorter: Sequence[int], at: int) -> int:
    """Return the smallest k > 0 such that `longer` skips k ids at `at` and then goes on as `shorter`, else 0."""
    for k in range(1, len(longer) - at + 1):
        rest = longer[at + k :]
        if not rest and at < len(shorter):
            return 0
        if tuple(rest) == tuple(shorter[at : at + len(rest)]):
            return k
    return 0
