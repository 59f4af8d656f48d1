"""When a fleet or a pool is Ready: all it needs holds, nothing is under way, and its last change is through."""

from collections.abc import Iterable

from tierline.fleet.verdicts import Verdict

TYPE = "Ready"


def ready_verdict(
    needed: Iterable[Verdict], progressing: Verdict, rolled_out: Verdict, refusal: str, *, well: tuple[str, str]
) -> Verdict:
    """Return the condition: the first thing that is in the way, or `well`, the reason and message when nothing is.

    `refusal` is what the API server said to our last write, empty when it took it.
    """
    if refusal:
        return Verdict(TYPE, False, "WriteRefused", refusal)
    for verdict in needed:
        if not verdict.holds:
            return Verdict(TYPE, False, verdict.reason, verdict.message, is_news=False)
    if progressing.holds:
        return Verdict(TYPE, False, progressing.reason, progressing.message, is_news=False)
    if not rolled_out.holds:
        return Verdict(TYPE, False, rolled_out.reason, rolled_out.message, is_news=False)
    return Verdict(TYPE, True, *well, is_news=False)
