"""`calibrate`: what goes into each linear layer of the full-precision model on some text.

All layers are looked at in the same passes, so the inputs of one do not depend on how others are quantized.
(GPTQ's own code feeds each block what the quantized blocks before it give.)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from llmwidgets.engine.bundled import FOLDER
from llmwidgets.engine.prompt import Prompt
from llmwidgets.engine.quantization.progress import Progress, report
from llmwidgets.engine.quantization.targets import choose_layers, full_name, linear_layers
from llmwidgets.engine.quantization.windows import consecutive_windows

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

WINDOW = 512  # tokens that are run at once
NUM_TOKENS = 8192
_SAMPLE = 256  # inputs that are kept as they are


class _Reached(Exception):  # noqa: N818  # how a pass ends early, and no error
    """All wanted layers have their inputs."""


@dataclass
class Inputs:
    """What went into one layer of K columns, over all tokens."""

    H: Tensor
    """2 X X^T, shape (K, K) float32."""
    mean: Tensor
    """Mean size of each input, shape (K,)."""
    max: Tensor
    """Largest size of each input, shape (K,)."""
    sample: Tensor
    """Some of the inputs, shape (n, K), spread over all."""
    num_tokens: int


@dataclass
class Calibration:
    """The inputs of layers; layers that read the same tensor share theirs."""

    model: Any
    """Whose layers they are."""
    inputs: dict[str, Inputs]
    num_tokens: int

    def of(self, name: str) -> Inputs:
        """Return what went into a layer.

        Raises:
            ValueError: if it was not looked at.
        """
        if name not in self.inputs:
            raise ValueError(
                f"the calibration has not seen {name!r}, but {len(self.inputs)} other layers; calibrate it"
            )
        return self.inputs[name]


@dataclass
class _Sums:
    """Sums over the passes so far, for one input tensor."""

    H: Tensor
    total: Tensor
    max: Tensor
    num_tokens: int = 0
    rows: list[Tensor] = field(default_factory=list)

    def add(self, x: Tensor, num_sampled: int) -> None:
        """Add inputs of shape (T, K)."""
        if not len(x):  # an expert that no token went to
            return
        x = x.float()
        self.H.addmm_(x.T, x, alpha=2)
        sizes = x.abs()
        self.total += sizes.sum(dim=0)
        torch.maximum(self.max, sizes.amax(dim=0), out=self.max)
        self.num_tokens += len(x)
        picked = torch.linspace(0, len(x) - 1, min(num_sampled, len(x))).round().long()
        self.rows.append(x[picked.to(x.device)].clone())

    def inputs(self) -> Inputs:
        """Return what was added up; copies, as tensors made during a pass refuse to be part of other work."""
        return Inputs(
            self.H.clone(),
            self.total / self.num_tokens,
            self.max.clone(),
            torch.cat(self.rows),
            self.num_tokens,
        )


def calibrate(
    engine: Engine,
    text: Prompt | None = None,
    layers: str | Sequence[str] | None = None,
    num_tokens: int = NUM_TOKENS,
    progress: Progress | None = None,
) -> Calibration:
    """Run text through the model, and keep what quantization needs of each layer's inputs.

    Args:
        engine: whose model runs; a copy with the same weights does, so that other threads go on undisturbed.
        text: text or token ids, cut into windows; by default the shipped text (public-domain prose).
        layers: names or patterns; by default all linear layers.
        num_tokens: the most tokens to run, at least one window.
        progress: told after each window.

    Raises:
        ValueError: for an unknown layer, or less text than one window.
        Stopped: if `progress` returns False.
    """
    known = linear_layers(engine.model)
    names = choose_layers(known, layers)
    if text is None:
        if engine.tokenizer is None:
            raise ValueError(
                "calibration=None takes the shipped text, but this engine has no tokenizer; give token ids"
            )
        text = (FOLDER / "text" / "calibration.txt").read_text(encoding="utf-8")
    size = min(WINDOW, engine.max_model_len)
    windows = consecutive_windows(engine, text, size, "calibration")[: max(1, num_tokens // size)]
    model = copy.deepcopy(engine.model, {id(tensor): tensor for tensor in engine.model.parameters()})
    watch = _Watch(model, names, -(-_SAMPLE // len(windows)))
    forward = type(engine.forward)(model)
    try:
        for number, window in enumerate(windows):
            report(progress, number / len(windows), f"calibration: window {number + 1} of {len(windows)}")
            with suppress(_Reached):
                forward.plain(window)
    finally:
        watch.close()
    shared = {id(sums): sums.inputs() for sums in watch.sums.values() if sums.num_tokens}
    inputs = {name: shared[id(sums)] for name, sums in watch.sums.items() if sums.num_tokens}
    return Calibration(engine.model, inputs, sum(map(len, windows)))


class _Watch:
    """Adds up the inputs of layers while a model runs."""

    def __init__(self, model: Any, names: Sequence[str], num_sampled: int) -> None:
        self.sums: dict[str, _Sums] = {}
        self._num_sampled = num_sampled
        self._last: tuple[Tensor, _Sums] | None = None
        self._awaited = set(names)
        self._waiting = set(names)  # in this pass
        self._hooks = [
            model.get_submodule(full_name(model, name)).register_forward_pre_hook(self._hook(name))
            for name in names
        ]

    def _hook(self, name: str) -> Any:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0]
            if self._last is not None and self._last[0] is x:
                self.sums[name] = self._last[1]  # the layer before read the same tensor
            else:
                self._add(name, x)
            self._waiting.discard(name)
            if not self._waiting:
                self._waiting = set(self._awaited)
                raise _Reached

        return before

    def _add(self, name: str, x: Tensor) -> None:
        columns = x.shape[-1]
        if name not in self.sums:
            zeros = torch.zeros(columns, device=x.device)
            self.sums[name] = _Sums(torch.zeros(columns, columns, device=x.device), zeros, zeros.clone())
        self.sums[name].add(x.detach().reshape(-1, columns), self._num_sampled)
        self._last = (x, self.sums[name])

    def close(self) -> None:
        """Leave the model as it was."""
        for hook in self._hooks:
            hook.remove()
        self._last = None
