"""llama.cpp through llama-cpp-python, with the model's own weights, one stream after another."""

from typing import Any

import llama_cpp
from contestant import Times, serve


class LlamaCpp:
    """One context; it computes a prompt in batches of 512, as its own command line does."""

    def ready(self, setup: dict[str, Any]) -> dict[str, Any]:
        self._llama = llama_cpp.Llama(
            model_path=setup["model"],
            n_ctx=setup["max_model_tokens"],
            n_batch=512,
            n_threads=setup["threads"],
            n_threads_batch=setup["threads"],
            verbose=False,
        )
        return {
            "name": "llama-cpp-python",
            "version": llama_cpp.__version__,
            "cases": ("single", "prefill"),
            "facts": {},
        }

    def run(self, times: Times) -> None:
        for index in times.due():
            self._generate(times, index)

    def _generate(self, times: Times, index: int) -> None:
        stream, llama = times.streams[index], self._llama
        llama.reset()
        llama.eval(stream["prompt_ids"])
        for count in range(1, stream["new_tokens"] + 1):
            token = llama.sample(temp=0.0)
            times.tokens(index, count)
            if count < stream["new_tokens"]:
                llama.eval([token])


if __name__ == "__main__":
    peer = LlamaCpp()
    serve(peer.ready, peer.run)
