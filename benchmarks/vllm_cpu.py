"""Serves requests with vLLM's CPU build, in vLLM's own interpreter; `benchmarks.serving` starts it.

Reads `{"model", "requests": [[token ids, max_tokens], ...], "rounds"}` from standard input. Prints one line
of JSON: the least CPU seconds of the rounds, and the new tokens of each request.
"""

import json
import sys
import time

from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt


def main() -> None:
    """Serve, and print what it took."""
    asked = json.load(sys.stdin)
    prompts = [TokensPrompt(prompt_token_ids=ids) for ids, _ in asked["requests"]]
    params = [
        SamplingParams(temperature=0, max_tokens=most, ignore_eos=True) for _, most in asked["requests"]
    ]
    # The CPU build wants blocks of 32 tokens, and a step that a whole context fits in.
    llm = LLM(
        asked["model"],
        dtype="float32",
        block_size=32,
        num_gpu_blocks_override=256,
        max_num_seqs=32,
        max_num_batched_tokens=1024,
        enforce_eager=True,
    )
    seconds = []
    for _ in range(asked["rounds"] + 1):  # the first counts for nothing
        begin = time.process_time()
        made = llm.generate(prompts, params, use_tqdm=False)
        seconds.append(time.process_time() - begin)
    tokens = [list(one.outputs[0].token_ids) for one in made]
    print(json.dumps({"seconds": min(seconds[1:]), "outputs": tokens}))


if __name__ == "__main__":
    main()
