"""Codes of 2 to 8 bits side by side in 32-bit words, as compressed-tensors' `pack-quantized` format has them.

A row's codes, each made positive by adding 2^(b-1), lie one after the other from the lowest bit of the first
word on; a code may begin in one word and end in the next. 32 codes fill b words.
"""

from __future__ import annotations

import torch
from torch import Tensor


def num_words(num_codes: int, bits: int) -> int:
    """Return how many 32-bit words hold a row of codes."""
    return -(-num_codes * bits // 32)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Return the words of each row, int32, shape (N, ceil(K b / 32)).

    Args:
        codes: int8, shape (N, K), each from -2^(b-1) to 2^(b-1) - 1.
        bits: of a code, 2 to 8.
    """
    N, K = codes.shape
    positive = (codes + (1 << (bits - 1))).to(torch.uint8)  # int8 wraps around for 8 bits, which is meant
    per_chunk = 8  # codes that fill whole bytes: b of them
    padded = torch.nn.functional.pad(positive, (0, -K % 32)).view(N, -1, per_chunk)
    packed = torch.zeros(N, padded.shape[1], bits, dtype=torch.int32, device=codes.device)
    for i in range(per_chunk):
        byte, shift = divmod(i * bits, 8)
        moved = padded[:, :, i].to(torch.int32) << shift
        packed[:, :, byte] |= moved & 255
        if shift + bits > 8:
            packed[:, :, byte + 1] |= moved >> 8
    words = packed.to(torch.uint8).view(N, -1).view(torch.int32)
    return words[:, : num_words(K, bits)].contiguous()


def unpack(words: Tensor, bits: int, num_codes: int) -> Tensor:
    """Return the codes of each row, int8, shape (N, K); `pack` undone.

    Args:
        words: int32, shape (N, ceil(K b / 32)).
        bits: of a code, 2 to 8.
        num_codes: K.
    """
    N = len(words)
    middle = 1 << (bits - 1)
    if bits == 8:
        return (words.view(torch.int8) ^ -128)[:, :num_codes]
    if 8 % bits == 0:  # no code crosses a byte
        held = words.contiguous().view(torch.uint8)
        mask = (1 << bits) - 1
        parts = [(held >> shift) & mask for shift in range(0, 8, bits)]
        codes = torch.stack(parts, dim=-1).view(N, -1).view(torch.int8)
        return codes.sub_(middle)[:, :num_codes]
    return _unpack_crossing(words, bits)[:, :num_codes] - middle


def _unpack_crossing(words: Tensor, bits: int) -> Tensor:
    """Return positive codes of 3, 5, 6 or 7 bits, eight of which fill `bits` bytes."""
    N = len(words)
    padded = torch.nn.functional.pad(words, (0, -words.shape[1] % bits))
    held = padded.view(torch.uint8).view(N, -1, bits)
    codes = torch.empty(N, held.shape[1], 8, dtype=torch.uint8, device=words.device)
    mask = (1 << bits) - 1
    for i in range(8):
        byte, shift = divmod(i * bits, 8)
        part = held[:, :, byte] >> shift
        if shift + bits > 8:
            part = part | (held[:, :, byte + 1] << (8 - shift))  # uint8 drops what is past the byte
        codes[:, :, i] = part & mask
    return codes.view(N, -1).view(torch.int8)
