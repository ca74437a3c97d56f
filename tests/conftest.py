"""Models and a tokenizer that need no download: two layers of random weights, and one token a byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from llmwidgets.engine import Engine
from tests.families import build_model

BEGIN, END = 256, 257
# The full GPT-2 alphabet: one printable letter for each byte, in the order of the bytes.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
LETTERS = {byte: chr(byte) for byte in _PRINTABLE} | {b: chr(256 + i) for i, b in enumerate(_OTHERS)}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # tiny matrices: more threads only wait for each other


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose token b is the byte b; a text begins with the token 256."""
    letters = {LETTERS[byte]: byte for byte in range(256)}
    backend = Tokenizer(models.BPE(vocab=letters, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|begin|>", "<|end|>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", BEGIN)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|begin|>", eos_token="<|end|>")


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    return build_model


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def engine(tokenizer: PreTrainedTokenizerFast) -> Engine:
    """A tiny random Llama over bytes: grouped queries, two layers, 256 tokens of context."""
    return Engine(build_model("llama"), tokenizer)
