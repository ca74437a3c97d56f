"""`measure_ceilings`: how fast this machine multiplies matrices and reads memory, in about a second."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from llmwidgets.engine.timing import time_passes
from llmwidgets.records.roofline import Ceilings

_BUDGET = 0.2  # seconds for each of three measurements
# Far past any cache, so that memory itself is measured: the largest caches of servers hold some 100 MB.
_BUFFER = {"cpu": 256 * 2**20}
_LARGE_BUFFER = 4 * 2**30
# Large enough that a product of two square matrices reaches the peak.
_MATRIX = {"cpu": 1024}
_LARGE_MATRIX = 8192


def measure_ceilings(device: torch.device, dtype: torch.dtype) -> Ceilings:
    """Return the two limits of a device, with the threads that PyTorch uses now.

    The peak is that of the product of two large square matrices in `dtype`. The bandwidth is the better of
    reading a buffer and copying one half of it over the other, where each byte counts once as read and once
    as written.
    """
    with torch.inference_mode():
        return Ceilings(
            name=_name(device),
            dtype=str(dtype).removeprefix("torch."),
            threads=torch.get_num_threads() if device.type == "cpu" else None,
            flops_per_second=_flops_per_second(device, dtype),
            bytes_per_second=_bytes_per_second(device),
        )


def _flops_per_second(device: torch.device, dtype: torch.dtype) -> float:
    n = _MATRIX.get(device.type, _LARGE_MATRIX)
    # Random numbers, for constant ones heat an accelerator less, and it multiplies them faster.
    own = torch.Generator(device).manual_seed(0)
    left, right = (torch.rand(n, n, dtype=dtype, device=device, generator=own) for _ in range(2))
    out = torch.empty_like(left)
    return 2 * n**3 / time_passes(lambda: torch.mm(left, right, out=out), device, _BUDGET).seconds


def _bytes_per_second(device: torch.device) -> float:
    size = _BUFFER.get(device.type, _LARGE_BUFFER)
    buffer = torch.ones(size // 4, dtype=torch.float32, device=device)
    half = len(buffer) // 2
    read = time_passes(buffer.sum, device, _BUDGET).seconds
    copied = time_passes(lambda: buffer[:half].copy_(buffer[half:]), device, _BUDGET).seconds
    return size / min(read, copied)  # either way all of the buffer passes once


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
