// One request's cache as it grows: where the cells stand and what they weigh; pure.

import type { GenerationWire } from "./wire";

export interface GrowthLayout {
  label: number; // pixels at the left for the layers' numbers
  bars: number; // pixels at the right for each layer's bytes
  column: number; // pixels of one token
  row: number; // pixels of one layer
  width: number; // of the cells
  height: number;
  top: number; // room above the cells for positions
}

/** What the cache holds at a step, in bytes by layer. */
export interface Held {
  tokens: number;
  keys: number[];
  values: number[];
}

const TALLEST = 320;

export function growthLayout(width: number, layers: number, tokens: number): GrowthLayout {
  const label = 20 + 7 * String(layers - 1).length;
  const bars = width < 560 ? 76 : 190;
  const row = Math.max(2, Math.min(34, Math.floor(TALLEST / layers)));
  const room = width - label - bars - 12;
  const column = Math.min(26, room / Math.max(1, tokens));
  return { label, bars, column, row, width: room, height: row * layers, top: 20 };
}

export function layersOf(wire: GenerationWire): number {
  return wire.num_kv_heads.length;
}

/** Bytes of one token's keys in a layer. */
export function keyBytes(wire: GenerationWire, layer: number): number {
  return (wire.num_kv_heads[layer] ?? 0) * (wire.key_size[layer] ?? 0) * wire.bytes_per_number;
}

/** Bytes of one token's values in a layer. */
export function valueBytes(wire: GenerationWire, layer: number): number {
  return (wire.num_kv_heads[layer] ?? 0) * (wire.value_size[layer] ?? 0) * wire.bytes_per_number;
}

export function heldAt(wire: GenerationWire, step: number): Held {
  const tokens = wire.kv_tokens[step] ?? 0;
  const layers = Array.from({ length: layersOf(wire) }, (_, layer) => layer);
  return {
    tokens,
    keys: layers.map((layer) => tokens * keyBytes(wire, layer)),
    values: layers.map((layer) => tokens * valueBytes(wire, layer)),
  };
}

/** Tokens that went through the model up to a step, and how many it would have been the other way. */
export function workAt(wire: GenerationWire, step: number): { done: number; cached: number; fresh: number } {
  const done = wire.scheduled_tokens.slice(0, step + 1).reduce((sum, count) => sum + count, 0);
  const prompt = wire.num_prompt_tokens;
  // With a cache each token is computed once; without one, step i computes prompt + i tokens.
  return { done, cached: prompt + step, fresh: (step + 1) * prompt + (step * (step + 1)) / 2 };
}

/** The query heads that read each KV head of a layer. */
export function headGroups(wire: GenerationWire, layer: number): number[][] {
  const [heads, kvHeads] = [wire.num_heads[layer] ?? 0, wire.num_kv_heads[layer] ?? 1];
  return Array.from({ length: kvHeads }, (_, kv) =>
    Array.from({ length: heads }, (_, head) => head).filter((head) => Math.floor((head * kvHeads) / heads) === kv),
  );
}

export function sameLayers(wire: GenerationWire): boolean {
  const same = (values: number[]): boolean => values.every((value) => value === values[0]);
  return [wire.num_heads, wire.num_kv_heads, wire.key_size, wire.value_size].every(same);
}
