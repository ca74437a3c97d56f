// One head's weights as they arrive from Python (llmwidgets/widgets/attention_tiles.py).

import { halfBits, halfToNumber, type PackedArray } from "../lib/arrays";

export interface MapWire {
  layer: number;
  head: number;
  row_start: number;
  row_stop: number;
  column_start: number;
  column_stop: number;
  pool_rows: number;
  pool_columns: number;
  triangle: boolean;
  cells: PackedArray;
}

/** Weights by row and column of the whole matrix; where they were pooled, the maximum of the block. */
export class HeadMap {
  readonly layer: number;
  readonly head: number;
  readonly poolRows: number;
  readonly poolColumns: number;
  private readonly bits: Uint16Array;
  private readonly columns: number;

  constructor(private readonly wire: MapWire) {
    this.layer = wire.layer;
    this.head = wire.head;
    this.poolRows = wire.pool_rows;
    this.poolColumns = wire.pool_columns;
    this.bits = halfBits(wire.cells);
    this.columns = Math.ceil((wire.column_stop - wire.column_start) / wire.pool_columns);
  }

  get byteLength(): number {
    return this.bits.byteLength;
  }

  get pooled(): boolean {
    return this.poolRows > 1 || this.poolColumns > 1;
  }

  /** The float16 bits of a weight, 0 outside what was sent. Bits of weights sort as the weights do. */
  bitsAt(row: number, column: number): number {
    const wire = this.wire;
    if (row < wire.row_start || row >= wire.row_stop) return 0;
    if (column < wire.column_start || column >= wire.column_stop) return 0;
    if (wire.triangle) return column > row ? 0 : (this.bits[(row * (row + 1)) / 2 + column] ?? 0);
    const i = Math.floor((row - wire.row_start) / wire.pool_rows);
    const j = Math.floor((column - wire.column_start) / wire.pool_columns);
    return this.bits[i * this.columns + j] ?? 0;
  }

  weight(row: number, column: number): number {
    return halfToNumber(this.bitsAt(row, column));
  }

  /** The strongest weight from row `first` on, with its place; of several equal ones the first. */
  strongest(first: number, rows: number, columns: number): { row: number; column: number; weight: number } {
    let best = { row: first, column: 0, bits: -1 };
    for (let row = first; row < rows; row += this.poolRows) {
      for (let column = 0; column < columns; column += this.poolColumns) {
        const bits = this.bitsAt(row, column);
        if (bits > best.bits) best = { row, column, bits };
      }
    }
    return { row: best.row, column: best.column, weight: halfToNumber(best.bits) };
  }
}

/** The heads that were shown lately, up to a number of bytes, so that going back needs no kernel. */
export class HeadCache {
  private readonly maps = new Map<string, HeadMap>();
  private bytes = 0;

  constructor(private readonly most: number) {}

  get(layer: number, head: number): HeadMap | undefined {
    return this.maps.get(`${layer}/${head}`);
  }

  add(map: HeadMap): void {
    const key = `${map.layer}/${map.head}`;
    this.bytes += map.byteLength - (this.maps.get(key)?.byteLength ?? 0);
    this.maps.delete(key); // a Map keeps the order of insertion: the oldest stands first
    this.maps.set(key, map);
    for (const [oldest, old] of this.maps) {
      if (this.bytes <= this.most || oldest === key) break;
      this.maps.delete(oldest);
      this.bytes -= old.byteLength;
    }
  }

  clear(): void {
    this.maps.clear();
    this.bytes = 0;
  }
}
