"""See what an LLM inference engine really did: records from a real engine, drawn by widgets.

Names are imported when first used, so `import llmwidgets` loads neither torch nor transformers.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("llmwidgets")

# Public name -> module that defines it.
_HOMES = {
    "Attention": "llmwidgets.records.attention",
    "AttentionHeatmap": "llmwidgets.widgets.attention_heatmap",
    "BatchTimeline": "llmwidgets.widgets.batch_timeline",
    "Distribution": "llmwidgets.records.distribution",
    "Engine": "llmwidgets.engine",
    "Generation": "llmwidgets.records.generation",
    "KVCacheGrid": "llmwidgets.widgets.kv_cache_grid",
    "Perplexity": "llmwidgets.records.perplexity",
    "Quantization": "llmwidgets.records.quantization",
    "Request": "llmwidgets.records.request",
    "RotaryDial": "llmwidgets.widgets.rotary_dial",
    "Rotation": "llmwidgets.records.rotation",
    "Serving": "llmwidgets.records.serving",
    "NextToken": "llmwidgets.widgets.next_token",
    "Roofline": "llmwidgets.widgets.roofline",
    "RooflineSweep": "llmwidgets.records.roofline",
    "calibrate": "llmwidgets.engine.quantization.calibration",
    "explore": "llmwidgets.lab.explore",
    "inject_outliers": "llmwidgets.engine.quantization.outliers",
    "load": "llmwidgets.lab.load",
    "load_record": "llmwidgets.records.record",
    "models": "llmwidgets.engine",
    "simulate": "llmwidgets.scheduling.simulate",
    "workload": "llmwidgets.records.workload",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmwidgets' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next access is a plain dictionary look-up
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
