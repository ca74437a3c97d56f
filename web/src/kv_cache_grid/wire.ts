// What travels from Python for each kind of record; see llmwidgets/widgets/kv_cache_grid_source.py.

import type { PackedArray } from "../lib/arrays";

export interface Sequence {
  id: string;
  request: string; // its request's id: another one where a request has several children
  place: number; // of the request in the workload, which gives the colour
  child: number;
}

/** What token slots hold, with the names of llmwidgets' `SlotUse`. */
export interface SlotUseWire {
  parts: string[];
  slots: PackedArray; // (steps, parts)
}

export interface PoolFacts {
  revision: number;
  run: number; // stays while a run only grows longer
  num_blocks: number;
  null_block: boolean; // block 0 is a placeholder
  block_size: number | null; // tokens; null if not known
  max_rows: number; // the most block tables at a time
  bytes_per_token: number | null;
  sequences: Sequence[];
  slot_use: SlotUseWire;
}

export interface ServingWire extends PoolFacts {
  kind: "serving";
  by_priority: boolean;
  kinds: string[];
  rows: PackedArray; // (events, 5): kind, block, sequence, start, stop
  first_rows: PackedArray; // (steps + 1,)
  scheduling_rows: PackedArray; // (steps,): rows of a step before the model's work
  tokens: PackedArray; // prompt and output of one sequence after the other
  token_offsets: PackedArray; // (sequences + 1,)
  hashes: PackedArray; // the first 32 bits of each hash
}

export interface GivenWire extends PoolFacts {
  kind: "given";
  table_blocks: PackedArray;
  table_offsets: PackedArray; // (sequences + 1,)
  table_tokens: number[] | null; // by sequence
  ref_counts: PackedArray; // (num_blocks,)
  filled: PackedArray; // (num_blocks,): tokens, -1 if not known
}

export interface GenerationWire {
  revision: number;
  run: number;
  kind: "generation";
  tokens: string[]; // prompt, then output
  num_prompt_tokens: number;
  use_cache: boolean;
  kv_tokens: number[]; // each by step
  kv_blocks: number[];
  kv_bytes: number[];
  scheduled_tokens: number[];
  num_heads: number[]; // each by layer
  num_kv_heads: number[];
  key_size: number[];
  value_size: number[];
  bytes_per_number: number;
}

export type PoolWire = ServingWire | GivenWire;
export type Wire = PoolWire | GenerationWire;
