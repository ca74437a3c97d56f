"""Ten fixed prompts for the model card."""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

PROMPTS = (
    "It was a dark",
    "Once upon a time",
    "Alice was beginning to get very tired",
    '"My dear Watson," said Holmes,',
    "The ship struck the rocks, and",
    "She looked at him for a moment, and then",
    "In the year 1815,",
    "import numpy as np\n\ndef ",
    "class Stack:\n    def __init__(self):\n",
    "def test_empty(self):\n        self.assert",
)


@dataclass(frozen=True)
class Sample:
    """A prompt and what the model wrote after it."""

    prompt: str
    text: str


@torch.inference_mode()
def draw_samples(model: LlamaForCausalLM, tokenizer: Tokenizer, max_new_tokens: int = 60) -> list[Sample]:
    """One sample a prompt at temperature 0.8 and top-p 0.95, prompt number n with seed n."""
    samples = []
    for seed, prompt in enumerate(PROMPTS):
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        torch.manual_seed(seed)
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=0.8, top_p=0.95, top_k=0,
            max_new_tokens=max_new_tokens,
        )  # fmt: skip
        samples.append(Sample(prompt, tokenizer.decode(out[0, ids.shape[1] :].tolist())))
    return samples
