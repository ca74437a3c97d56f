"""The figures of the model card, over held-out windows that begin with `<|endoftext|>`."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import LlamaForCausalLM

from tools.training.corpus import Document
from tools.training.data import BEGIN, encode_documents
from tools.training.early_exit import hidden_states, logits_of
from tools.training.settings import CONTEXT


@dataclass(frozen=True)
class Windows:
    """Held-out windows: padded at the right, where the causal mask keeps padding out of every prediction."""

    ids: torch.Tensor  # (windows, context), the first column <|endoftext|>
    byte_lengths: torch.Tensor  # (vocab,), UTF-8 bytes of each token

    @property
    def tokens(self) -> int:
        """How many tokens are predicted."""
        return int((self.ids[:, 1:] != BEGIN).sum())

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the predicted tokens."""
        return int(self.byte_lengths[self.ids[:, 1:]].sum())

    def sample(self, count: int) -> "Windows":
        """`count` windows evenly spaced over all; all of them for 0."""
        if not 0 < count < len(self.ids):
            return self
        chosen = torch.linspace(0, len(self.ids) - 1, count).round().long()
        return Windows(self.ids[chosen], self.byte_lengths)


@dataclass(frozen=True)
class Figures:
    """One kind of text: bits a byte, and how far the draft follows the target."""

    windows: int
    tokens: int
    bytes: int
    target: float  # bits per byte
    exits: dict[str, float]  # layers run -> bits per byte
    draft: float | None = None
    overlap: float | None = None  # mean of sum min(p, q) at temperature 1
    agreement: float | None = None  # share of positions where both have the same most likely token


def held_out_windows(tokenizer: Tokenizer, documents: list[Document], context: int = CONTEXT) -> Windows:
    """Every document cut into consecutive windows of `context`, the begin token included."""
    rows = []
    for ids in encode_documents(tokenizer, documents):
        for first in range(0, len(ids), context - 1):
            piece = ids[first : first + context - 1]
            row = np.full(context, BEGIN, dtype=np.int64)
            row[1 : len(piece) + 1] = piece
            rows.append(row)
    return Windows(torch.from_numpy(np.stack(rows)), torch.tensor(byte_lengths(tokenizer)))


def byte_lengths(tokenizer: Tokenizer) -> list[int]:
    """UTF-8 bytes of each token; a byte-level token is written with one character a byte."""
    lengths = [len(tokenizer.id_to_token(i)) for i in range(tokenizer.get_vocab_size())]
    lengths[BEGIN] = 0
    return lengths


@torch.inference_mode()
def evaluate(
    target: LlamaForCausalLM,
    windows: Windows,
    draft: LlamaForCausalLM | None = None,
    exits: tuple[int, ...] = (2, 4, 6, 8),
    batch_size: int = 4,
) -> Figures:
    """Measure one kind of text in the models' own precision."""
    device = next(target.parameters()).device
    nats = dict.fromkeys(exits, 0.0)
    draft_nats = overlap = agreement = 0.0
    for rows in windows.ids.split(batch_size):
        rows = rows.to(device)
        labels = rows[:, 1:]
        counted = labels != BEGIN
        states = hidden_states(target, rows[:, :-1], None, 0.0)
        for layers in exits:
            log_p = functional.log_softmax(logits_of(target, states[layers - 1])[counted], dim=-1)
            nats[layers] -= float(log_p.gather(1, labels[counted][:, None]).double().sum())
        if draft is not None:  # log_p is now the last exit's
            log_q = functional.log_softmax(
                logits_of(draft, hidden_states(draft, rows[:, :-1], None, 0.0)[-1])[counted], dim=-1
            )
            draft_nats -= float(log_q.gather(1, labels[counted][:, None]).double().sum())
            overlap += float(torch.minimum(log_p, log_q).exp().sum(dim=-1).double().sum())
            agreement += int((log_p.argmax(-1) == log_q.argmax(-1)).sum())
    bits = 1 / (math.log(2) * windows.bytes)
    figures = {str(layers): round(total * bits, 4) for layers, total in nats.items()}
    return Figures(
        windows=len(windows.ids),
        tokens=windows.tokens,
        bytes=windows.bytes,
        target=figures[str(exits[-1])],
        exits=figures,
        draft=None if draft is None else round(draft_nats * bits, 4),
        overlap=None if draft is None else round(overlap / windows.tokens, 4),
        agreement=None if draft is None else round(agreement / windows.tokens, 4),
    )
