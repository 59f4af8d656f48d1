"""Loads a model over the ranks that the settings ask for: rank 0 in this process, the others in their own."""

import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from tierline.artifacts import open_weights
from tierline_worker.assembly import Loaded, load
from tierline_worker.device.choice import choose_device
from tierline_worker.executor import Executor
from tierline_worker.model.load import open_checkpoint
from tierline_worker.parallel.executor import TensorParallelExecutor, serve_rank
from tierline_worker.parallel.group import RankLost, open_group
from tierline_worker.parallel.ranks import Ranks, live_as_a_rank
from tierline_worker.parallel.shard import Sharding, check_divides
from tierline_worker.settings import WorkerSettings

_LOG = logging.getLogger(__name__)


def load_on_ranks(settings: WorkerSettings, on_lost: Callable[[str], None]) -> tuple[Loaded, Ranks | None]:
    """Load what `settings` ask for, and the other ranks, None with one rank alone.

    `on_lost` gets the reason when a rank is lost later. Raises what `load` raises, and `RankLost`.
    """
    if settings.tensor_parallel == 1:
        return load(settings), None
    # What cannot work is found out before any process starts, and a download happens once.
    choose_device(settings.device, settings.tensor_parallel - 1)
    weights = open_weights(settings.model_source, settings.weights)
    check_divides(open_checkpoint(weights.path).config, settings.tensor_parallel)
    ranks = Ranks(settings.tensor_parallel, partial(run_rank, settings), settings.stall_seconds, on_lost)
    try:
        loaded = _load_rank(settings, 0, ranks.meeting_place)
    except BaseException:
        ranks.close()
        raise
    assert isinstance(loaded.executor, Executor)
    executor = TensorParallelExecutor(loaded.executor, ranks)
    return dataclasses.replace(loaded, executor=executor, weights=weights), ranks


def run_rank(settings: WorkerSettings, rank: int, meeting_place: Path, pipe: Connection) -> None:
    """Be rank `rank`: the main function of its process."""
    live_as_a_rank()
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s rank {rank} %(name)s: %(message)s")
    loaded = _load_rank(settings, rank, meeting_place)
    assert isinstance(loaded.executor, Executor)
    try:
        serve_rank(loaded.executor, pipe)
    except RankLost as error:
        _LOG.error("this rank ends: %s", error)


def _load_rank(settings: WorkerSettings, rank: int, meeting_place: Path) -> Loaded:
    device = choose_device(settings.device, rank)
    group = open_group(device, rank, settings.tensor_parallel, meeting_place, settings.stall_seconds)
    return load(settings, Sharding(group))
