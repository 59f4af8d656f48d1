"""transformers' own continuous batching, `generate_batch`, with paged attention through SDPA."""

from typing import Any

import torch
import transformers
from contestant import Times, serve
from transformers import AutoModelForCausalLM, GenerationConfig

DTYPES = {"Float32": torch.float32, "BFloat16": torch.bfloat16, "Float16": torch.float16}
CASES = ("single", "batch32", "prefill", "shared_prefix")


class Transformers:
    """One model; all streams of a load are given at once."""

    def ready(self, setup: dict[str, Any]) -> dict[str, Any]:
        torch.set_num_threads(setup["threads"])
        self._model = AutoModelForCausalLM.from_pretrained(
            setup["exported"], dtype=DTYPES[setup["dtype"]], attn_implementation="sdpa"
        ).eval()
        facts = {"torch": str(torch.__version__)}
        return {"name": "transformers-batch", "version": transformers.__version__, "cases": CASES, "facts": facts}

    def run(self, times: Times) -> None:
        prompts = [list(times.streams[index]["prompt_ids"]) for index in times.due()]
        new = times.streams[0]["new_tokens"]
        chosen = GenerationConfig(
            max_new_tokens=new, do_sample=False, eos_token_id=-1, pad_token_id=0, use_cuda_graph=False
        )
        with torch.inference_mode():
            outputs = self._model.generate_batch(prompts, generation_config=chosen, progress_bar=False, warmup=False)
        for index, output in enumerate(sorted(outputs.values(), key=lambda output: _number(output.request_id))):
            times.tokens(index, len(output.generated_tokens))


def _number(request_id: str) -> int:
    return int("".join(letter for letter in request_id if letter.isdigit()) or 0)


if __name__ == "__main__":
    peer = Transformers()
    serve(peer.ready, peer.run)
