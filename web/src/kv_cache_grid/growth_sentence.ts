// What the figure says of one request's cache, or of one token's keys and values in a layer; pure.

import { quoted } from "../lib/tokens";
import { heldAt, keyBytes, layersOf, sameLayers, valueBytes, workAt } from "./growth";
import type { GrowthCell } from "./growth_shapes";
import type { GenerationWire } from "./wire";
import { counted, sizeOf, whole } from "./words";

export function growthSentence(wire: GenerationWire, step: number): string {
  const { done, cached, fresh } = workAt(wire, step);
  const computed = counted(wire.scheduled_tokens[step] ?? 0, "token");
  if (!wire.use_cache) {
    return `use_cache=False: no key or value is kept. This step computed ${computed}; ${whole(done)} so far, where a cache would have needed ${whole(cached)}.`;
  }
  const held = heldAt(wire, step);
  const sum = (bytes: number[]): number => bytes.reduce((total, each) => total + each, 0);
  const total = wire.kv_bytes[step] ?? 0;
  return `${counted(held.tokens, "token")} × ${counted(layersOf(wire), "layer")}: ${whole(sum(held.keys))} bytes of keys + ${whole(sum(held.values))} of values = ${whole(total)} bytes (${sizeOf(total)}) in ${counted(wire.kv_blocks[step] ?? 0, "block")}. This step computed ${computed}; ${whole(done)} so far, ${whole(fresh)} without a cache.`;
}

export function cellSentence(wire: GenerationWire, step: number, { layer, token }: GrowthCell): string {
  const name = `Token ${token} ${quoted(wire.tokens[token] ?? "")}, layer ${layer}`;
  const [heads, size] = [wire.num_kv_heads[layer] ?? 0, wire.key_size[layer] ?? 0];
  const keys = `${counted(heads, "KV head")} × ${size} numbers × ${wire.bytes_per_number} bytes = ${whole(keyBytes(wire, layer))} bytes of keys`;
  return `${name}: ${keys}, ${whole(valueBytes(wire, layer))} of values; ${presence(wire, step, token)}.`;
}

/** Since when a token's keys and values are there, or why they are not. */
function presence(wire: GenerationWire, step: number, token: number): string {
  const chosen = token - wire.num_prompt_tokens; // the step that chose it; below 0 for the prompt
  if (chosen > step) return `not there yet: step ${chosen} chooses it`;
  if (chosen === step) return "just chosen, so not computed yet";
  if (!wire.use_cache) return "computed again in each step and thrown away";
  const since = Math.max(0, chosen + 1);
  return since === step ? "computed in this step" : `kept since step ${since}`;
}

/** Which query heads read which KV heads, and what that saves. */
export function headsSentence(wire: GenerationWire, layer: number): string {
  const [heads, kvHeads] = [wire.num_heads[layer] ?? 0, wire.num_kv_heads[layer] ?? 1];
  const where = sameLayers(wire) ? "each layer" : `layer ${layer}`;
  if (heads === kvHeads) return `${where}: ${heads} query heads, each with a KV head of its own`;
  const times = heads / kvHeads;
  const factor = Number.isInteger(times) ? String(times) : times.toFixed(1);
  return `${where}: ${heads} query heads read ${counted(kvHeads, "KV head")}, ${factor} each; a KV head for each query head would take ${factor}× the bytes`;
}
