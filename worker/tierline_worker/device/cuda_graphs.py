"""Captures programs as CUDA graphs. Needs CUDA."""

import torch

from tierline_worker.device.buckets import Program

_WARM_UPS = 2


class CUDAGraphs:
    """All graphs share one pool of memory: they run one after the other, and each result is read before the next."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, program: Program) -> Program:
        """Return a replay of `program`, which has then run a few times: kernels are compiled and libraries loaded."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                program()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = program()

        def replay() -> torch.Tensor:
            graph.replay()
            return result

        return replay
