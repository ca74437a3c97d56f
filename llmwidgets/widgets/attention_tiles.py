"""Cuts attention weights into what is shown: a triangle, a pooled tile, thumbnails. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.widgets.attention_source import AttentionSource, Weights

WHOLE = 1024  # up to here a head travels whole; above, as tiles of what is in view
TILE = 512  # most cells of a tile in each direction
THUMBNAIL_BYTES = 65_536  # for all thumbnails together


@dataclass(frozen=True)
class View:
    """A window on the matrix, in rows and columns; stops are exclusive."""

    row_start: int
    row_stop: int
    column_start: int
    column_stop: int


def max_pool(weights: Weights, pool_rows: int, pool_columns: int) -> Weights:
    """Return the maximum of each block of `pool_rows` × `pool_columns` cells; edge blocks may be smaller.

    The maximum, not the mean, so that one spike in a block does not vanish.
    """
    rows, columns = weights.shape
    pooled: Weights = np.maximum.reduceat(weights, np.arange(0, columns, pool_columns), axis=1)
    return np.asarray(np.maximum.reduceat(pooled, np.arange(0, rows, pool_rows), axis=0))


def whole_map(source: AttentionSource, layer: int, head: int) -> dict[str, Any]:
    """Return one head as it travels: the lower triangle row by row if it is causal, else all cells."""
    weights = source.weights(layer, head)
    rows, columns = weights.shape
    triangle = rows == columns and not np.triu(weights, 1).any()
    cells = weights[np.tril_indices(rows)] if triangle else weights.reshape(-1)
    view = View(0, rows, 0, columns)
    return _packed(layer, head, view, 1, 1, triangle, cells)


def tile(source: AttentionSource, layer: int, head: int, view: View) -> dict[str, Any]:
    """Return what is in view, max-pooled to at most `TILE` × `TILE` cells aligned to the pool."""
    pool_rows = -(-(view.row_stop - view.row_start) // TILE)
    pool_columns = -(-(view.column_stop - view.column_start) // TILE)
    row_start = view.row_start // pool_rows * pool_rows
    column_start = view.column_start // pool_columns * pool_columns
    aligned = View(row_start, view.row_stop, column_start, view.column_stop)
    step = pool_rows * max(1, 256 // pool_rows)  # a few hundred rows at a time bound the memory
    bands = []
    for start in range(row_start, view.row_stop, step):
        rows = source.weights_rows(layer, head, start, min(start + step, view.row_stop))
        bands.append(max_pool(rows[:, column_start : view.column_stop], pool_rows, pool_columns))
    cells = np.concatenate(bands)
    return _packed(layer, head, aligned, pool_rows, pool_columns, False, cells)


def thumbnails(source: AttentionSource) -> NDArray[np.uint8]:
    """Return every head small, shape (layers, heads, side, side): 255 × √weight, max-pooled."""
    count = len(source.layers) * len(source.heads)
    rows, columns = len(source.query_positions), len(source.tokens)
    side = max(1, min(32, int((THUMBNAIL_BYTES // count) ** 0.5)))
    pool_rows, pool_columns = -(-rows // side), -(-columns // side)
    small = np.zeros((len(source.layers), len(source.heads), side, side), np.uint8)
    for i, layer in enumerate(source.layers):
        for j, head in enumerate(source.heads):
            pooled = max_pool(source.weights(layer, head), pool_rows, pool_columns)
            shade = np.rint(255 * np.sqrt(np.minimum(pooled, 1))).astype(np.uint8)
            small[i, j, : shade.shape[0], : shade.shape[1]] = shade
    used = small[:, :, : -(-rows // pool_rows), : -(-columns // pool_columns)]
    return np.ascontiguousarray(used)


def _packed(
    layer: int, head: int, view: View, pool_rows: int, pool_columns: int, triangle: bool, cells: Weights
) -> dict[str, Any]:
    return {
        "layer": layer,
        "head": head,
        "row_start": view.row_start,
        "row_stop": view.row_stop,
        "column_start": view.column_start,
        "column_stop": view.column_stop,
        "pool_rows": pool_rows,
        "pool_columns": pool_columns,
        "triangle": triangle,
        "cells": cells.astype(np.float16),
    }
