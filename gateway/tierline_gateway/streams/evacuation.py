"""When the streams of a worker that will go away are moved: late enough that short ones finish where they are.

Moving needs nothing from the old worker, since the journal has every delivered token; the margin only covers clocks
that differ and the time in which the new worker's first tokens are still on their way.
"""

from tierline_gateway.streams.dispatcher import Dispatcher
from tierline_gateway.workers.link import WorkerLink

MARGIN_MS = 2000.0


def evacuate_due(dispatcher: Dispatcher, epoch_ms: float, loop_s: float) -> None:
    """Move the streams of every worker whose deadline is near, if another worker may take them.

    Without another one they stay: tokens until the very end are better than none.
    """
    for link in tuple(dispatcher.links):
        cause = _due(link, epoch_ms, loop_s)
        if cause and link.outstanding and dispatcher.links.accepting_besides(link.name):
            dispatcher.evacuate(link, cause)


def _due(link: WorkerLink, epoch_ms: float, loop_s: float) -> str:
    published = link.endpoint.evacuate_by_epoch_ms
    if published is not None and epoch_ms >= published - MARGIN_MS:
        return "Evacuation"
    if link.drain_deadline is not None and loop_s * 1000 >= link.drain_deadline * 1000 - MARGIN_MS:
        return "Draining"
    return ""
