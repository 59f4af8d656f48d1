"""Whose tokens come together, and which of them are still to be paid for.

Who gets a token changes seldom, so requests are looked at when they begin to get tokens together. From then on each
iteration only counts: its moment goes into every journal, and how many there were tells who has used up what its tenant
paid for in advance.
"""

from collections import Counter

from tierline.sim.requests import SimulatedRequest


class Receiving:
    """Requests that get one token each at a time, for as long as they are the same ones.

    `beginning` are those that had none before. `unpaid` counts by tenant the tokens of the last time that nobody had
    paid for in advance.
    """

    def __init__(self, request_ids: tuple[str, ...], requests: list[SimulatedRequest]) -> None:
        self.request_ids = request_ids
        self.requests = requests
        self.beginning = [request for request in requests if not request.token_ms]
        self._journals = [request.token_ms.append for request in requests]
        self._prepaid = [request.prepaid_tokens - len(request.token_ms) for request in requests]
        self._times = 0
        pairs = zip(requests, self._prepaid, strict=True)
        self.unpaid = Counter([request.planned.tenant for request, left in pairs if left <= 0])

    def take(self, now_ms: float) -> list[SimulatedRequest]:
        """Note a token of each at `now_ms`; returns those whose tenant had paid for tokens up to this one."""
        for append in self._journals:
            append(now_ms)
        if self._times:
            self.unpaid.update([request.planned.tenant for request in self._used_up()])
        self._times += 1
        return self._used_up()

    def _used_up(self) -> list[SimulatedRequest]:
        if self._times not in self._prepaid:
            return []
        pairs = zip(self.requests, self._prepaid, strict=True)
        return [request for request, left in pairs if left == self._times]
