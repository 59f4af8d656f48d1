"""The last requests' decisions, by id, and the order in which requests were served; bounded in records and bytes."""

from collections import OrderedDict, deque

from tierline.scheduling.queueing.standing import Standing
from tierline_gateway.streams.decisions import Decisions, Start

REMEMBERED = 4096
REMEMBERED_BYTES = 32 * 1024 * 1024
REMEMBERED_STARTS = 4096


class ExplainLog:
    """A ring buffer: the newest record stays however large it is, the oldest ones go first."""

    def __init__(
        self, most_records: int = REMEMBERED, most_bytes: int = REMEMBERED_BYTES, most_starts: int = REMEMBERED_STARTS
    ) -> None:
        self.starts: deque[Start] = deque(maxlen=most_starts)
        self.bytes_about = 0
        self._records: OrderedDict[str, tuple[Decisions, int]] = OrderedDict()
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._turn: Standing | None = None

    def __len__(self) -> int:
        return len(self._records)

    def add(self, request_id: str, decisions: Decisions) -> None:
        """Remember the decisions about a request that is over."""
        size = decisions.bytes_about
        self._forget(self._records.pop(request_id, None))
        self._records[request_id] = (decisions, size)
        self.bytes_about += size
        while len(self._records) > 1 and (len(self) > self._most_records or self.bytes_about > self._most_bytes):
            self._forget(self._records.popitem(last=False)[1])

    def turn(self, standing: Standing) -> None:
        """Note whose turn it is; `started` follows at once if a worker takes the request."""
        self._turn = standing

    def started(self, decisions: Decisions) -> None:
        """Note that the request whose turn it is went to the worker that was chosen last."""
        if self._turn is not None and decisions.tried is not None:
            start = Start(self._turn, decisions.tried)
            decisions.starts.append(start)
            self.starts.append(start)

    def get(self, request_id: str) -> Decisions | None:
        record = self._records.get(request_id)
        return None if record is None else record[0]

    def _forget(self, record: tuple[Decisions, int] | None) -> None:
        self.bytes_about -= 0 if record is None else record[1]
