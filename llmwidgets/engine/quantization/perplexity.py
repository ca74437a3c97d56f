"""`perplexity`: the mean loss of a text, window by window, over the paged cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  # PyTorch's own convention

from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.generate import BLOCK_SIZE
from llmwidgets.engine.kv_cache import num_blocks_for
from llmwidgets.engine.prompt import Prompt
from llmwidgets.engine.quantization.kv_quant import cache_for
from llmwidgets.engine.quantization.progress import Progress, report
from llmwidgets.engine.quantization.windows import consecutive_windows
from llmwidgets.records.kv_shape import KVCacheDtype, KVCacheScale, KVShape
from llmwidgets.records.perplexity import Perplexity

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

WINDOW = 1024
_LOGITS = 2**24  # numbers of one piece of logits: 64 MB in float32


def perplexity(
    engine: Engine,
    text: Prompt,
    window: int | None,
    num_windows: int | None,
    kv_cache_dtype: KVCacheDtype,
    kv_cache_scale: KVCacheScale,
    progress: Progress | None,
) -> Perplexity:
    """See `Engine.perplexity`."""
    most = engine.max_model_len
    size = min(WINDOW, most) if window is None else window
    if isinstance(size, bool) or not isinstance(size, int) or not 2 <= size <= most:
        raise ValueError(f"window={window!r} is not allowed; allowed are 2 to max_model_len={most} tokens")
    shape = engine.kv_shape.held_as(kv_cache_dtype, kv_cache_scale)
    windows = consecutive_windows(engine, text, size, "text", with_rest=True)
    if num_windows is not None:
        if isinstance(num_windows, bool) or not isinstance(num_windows, int) or num_windows < 1:
            raise ValueError(
                f"num_windows={num_windows!r} is not allowed; allowed is at least 1, or None for all"
            )
        chosen = np.linspace(0, len(windows) - 1, min(num_windows, len(windows))).round().astype(int)
        windows = [windows[i] for i in chosen]
    total, num_tokens = 0.0, 0
    for number, token_ids in enumerate(windows):
        report(progress, number / len(windows), f"perplexity: window {number + 1} of {len(windows)}")
        total += window_loss(engine, token_ids, shape)
        num_tokens += len(token_ids) - 1
    report(progress, 1.0, "done")
    return Perplexity(
        engine.name, total / num_tokens, num_tokens, len(windows), size, kv_cache_dtype, kv_cache_scale
    )


def window_loss(engine: Engine, token_ids: list[int], shape: KVShape) -> float:
    """Return the summed loss, in nats, of all tokens but the first."""
    forward = engine.forward
    cache = cache_for(shape, num_blocks_for(len(token_ids), BLOCK_SIZE), BLOCK_SIZE)
    step = max(64, _LOGITS // engine.vocab_size)
    total = 0.0
    for start in range(0, len(token_ids) - 1, step):
        stop = min(start + step, len(token_ids) - 1)  # nothing is predicted from the last token
        chunk = Chunk(token_ids[start:stop], start, slice(0, stop), stop - start)
        logits = forward.run(forward.prepare([chunk], cache))
        labels = torch.tensor(token_ids[start + 1 : stop + 1], device=logits.device)
        total += float(F.cross_entropy(logits.float(), labels, reduction="sum"))
    return total
