"""What puts the executor of a device together, whichever device it is."""

from collections.abc import Callable

from tierline_worker.attention.backend import AttentionBackend
from tierline_worker.engine.flights import Executes
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.decoder import Decoder
from tierline_worker.slots import SlotTable

MakesGeneral = Callable[[AttentionBackend], Executor]
"""Makes the executor that can compute every plan, with the attention of its device."""

Builds = Callable[[Decoder, KVArena, SlotTable, MakesGeneral], Executes]
"""Makes the executor that the engine gets, around or instead of the general one."""


MakesAttention = Callable[[Decoder, KVArena], AttentionBackend]
