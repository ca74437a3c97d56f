// What each request does in each step, as it arrives from Python (llmwidgets/widgets/batch_timeline.py).

import { bytes, numbers, type PackedArray } from "../lib/arrays";

/** Codes of a cell: the places in STATES of batch_timeline_source.py. */
export const STATE = {
  notArrived: 0,
  queued: 1,
  prefill: 2,
  decode: 3,
  speculated: 4,
  preempted: 5,
  finished: 6,
  idle: 7,
  padding: 8,
} as const;

export interface RowFacts {
  id: string;
  parent: string;
  place: number; // of the request in the workload: its colour
  prompt_tokens: number | null;
  finish_reason: string | null;
  ended: number | null; // the last step in which it waited or ran
  admissions: { step: number; cached_tokens: number }[];
  shortfall: number; // tokens by which its prompt is shorter than the longest of its static batch
  ttft: number | null; // in the run's unit, as are the next two
  itl_mean: number | null;
  itl_max: number | null;
}

export interface Totals {
  prefill: number;
  decode: number;
  padding: number;
  running: number;
  idle: number;
  waiting: number;
}

export interface RunWire {
  rows: RowFacts[];
  unit: "steps" | "seconds";
  max_num_batched_tokens: number | null;
  max_num_seqs: number | null;
  states: PackedArray; // (rows, steps), as are the next three
  tokens: PackedArray;
  padding: PackedArray | null;
  new_tokens: PackedArray;
  totals: Record<keyof Totals, PackedArray>; // (steps,)
  step_ends: PackedArray; // (steps,)
}

export interface Difference {
  step: number;
  request_id: string;
  text: string;
}

export interface TimelineWire {
  revision?: number;
  difference: Difference | null;
  runs: RunWire[];
}

type Numbers = Uint8Array | Int32Array | Float32Array;

const NOTHING: Totals = { prefill: 0, decode: 0, padding: 0, running: 0, idle: 0, waiting: 0 };

/** One run: cells by row and step, and what a step adds up to. */
export class Run {
  readonly rows: RowFacts[];
  readonly steps: number;
  /** Requests; fewer than rows where children share one. */
  readonly requests: number;
  /** The most tokens that a step computes. */
  readonly mostTokens: number;
  /** The most slots that a step holds. */
  readonly mostSlots: number;
  private readonly states: Numbers;
  private readonly tokens: Numbers;
  private readonly padding: Numbers | null;
  private readonly newTokens: Numbers;
  private readonly stepEnds: Numbers;
  private readonly sums: Totals[];

  constructor(readonly wire: RunWire) {
    this.rows = wire.rows;
    this.steps = wire.states.shape[1] ?? 0;
    this.requests = new Set(wire.rows.map((row) => row.parent)).size;
    this.states = read(wire.states);
    this.tokens = read(wire.tokens);
    this.padding = wire.padding && read(wire.padding);
    this.newTokens = read(wire.new_tokens);
    this.stepEnds = read(wire.step_ends);
    const names = Object.keys(NOTHING) as (keyof Totals)[];
    const columns = names.map((name) => read(wire.totals[name]));
    this.sums = Array.from({ length: this.steps }, (_, step) => {
      return Object.fromEntries(names.map((name, i) => [name, columns[i]?.[step] ?? 0])) as unknown as Totals;
    });
    this.mostTokens = Math.max(1, ...this.sums.map((sum) => sum.prefill + sum.decode + sum.padding));
    this.mostSlots = Math.max(1, ...this.sums.map((sum) => sum.running + sum.idle));
  }

  state(row: number, step: number): number {
    return step >= 0 && step < this.steps ? (this.states[row * this.steps + step] ?? 0) : STATE.notArrived;
  }

  tokensAt(row: number, step: number): number {
    return this.tokens[row * this.steps + step] ?? 0;
  }

  paddingAt(row: number, step: number): number {
    return this.padding?.[row * this.steps + step] ?? 0;
  }

  newTokensAt(row: number, step: number): number {
    return this.newTokens[row * this.steps + step] ?? 0;
  }

  totals(step: number): Totals {
    return this.sums[step] ?? NOTHING;
  }

  /** The first request that waits or runs in a step; 0 if there is none. */
  firstThere(step: number): number {
    const absent: number[] = [STATE.notArrived, STATE.finished];
    return Math.max(0, this.rows.findIndex((_, row) => !absent.includes(this.state(row, step))));
  }

  /** The first step in which the request was there, or -1. */
  arrival(row: number): number {
    for (let step = 0; step < this.steps; step++) if (this.state(row, step) !== STATE.notArrived) return step;
    return -1;
  }

  /** The step that brought the first new token, or -1. */
  firstToken(row: number): number {
    for (let step = 0; step < this.steps; step++) if (this.newTokensAt(row, step)) return step;
    return -1;
  }

  /** New tokens up to the end of a step. */
  tokensSoFar(row: number, step: number): number {
    let count = 0;
    for (let i = 0; i <= step; i++) count += this.newTokensAt(row, i);
    return count;
  }

  /** The step in which a request came into the batch for the stay that includes `step`, or null. */
  admission(row: number, step: number): { step: number; cached_tokens: number } | null {
    return this.rows[row]?.admissions.filter((admission) => admission.step <= step).at(-1) ?? null;
  }

  /** Tokens whose keys and values are there at the end of a step, for a request that runs in it. */
  computedAfter(row: number, step: number): number {
    const admission = this.admission(row, step);
    let count = admission?.cached_tokens ?? 0;
    for (let i = admission?.step ?? 0; i <= step; i++) count += this.tokensAt(row, i);
    return count;
  }

  /** Each step that brought new tokens after the first, with the time since the one before, in `unit`. */
  gaps(row: number): { before: number; step: number; time: number }[] {
    const found: { before: number; step: number; time: number }[] = [];
    let before = -1;
    for (let step = 0; step < this.steps; step++) {
      if (!this.newTokensAt(row, step)) continue;
      if (before >= 0) found.push({ before, step, time: (this.stepEnds[step] ?? 0) - (this.stepEnds[before] ?? 0) });
      before = step;
    }
    return found;
  }
}

function read(array: PackedArray): Numbers {
  return array.dtype === "uint8" ? bytes(array) : numbers(array);
}
