// The steps of a run, each folded from the packed events when it is shown; pure.

import { numbers } from "../lib/arrays";
import { PoolState } from "./state";
import type { ServingWire } from "./wire";

const WIDTH = 5; // kind, block, sequence, start, stop
const KEYFRAME = 8192; // rows from one kept state to the next: folding so many takes about a millisecond

type Apply = (state: PoolState, block: number, sequence: number, start: number, stop: number) => void;

const APPLY: Record<string, Apply> = {
  Allocate: (state, block, sequence) => state.take(block, sequence),
  Share: (state, block, sequence) => state.share(block, sequence),
  Fill: (state, block, sequence, start, stop) => state.fill(block, sequence, start, stop),
  Cache: (state, block, _, hash, parent) => state.cache(block, hash, parent),
  Evict: (state, block) => state.evict(block),
  Copy: (state, block, sequence, source) => state.copy(source, block, sequence),
  Free: (state, block, sequence) => state.free(block, sequence),
  Add: (state, _, sequence, rank) => state.add(sequence, rank),
  Admit: (state, _, sequence, cachedTokens) => state.admit(sequence, cachedTokens),
  Resume: (state, _, sequence, cachedTokens) => state.admit(sequence, cachedTokens),
  Preempt: (state, _, sequence) => state.preempt(sequence),
  Finish: (state, _, sequence) => state.leave(sequence),
  Abort: (state, _, sequence) => state.leave(sequence),
};

const NOTHING: ReadonlySet<number> = new Set();

/** What happened since the state of the step before: blocks, or sequences, by kind of event. */
export class Changes {
  readonly copies = new Map<number, number>(); // copy -> its source
  private readonly found = new Map<string, Set<number>>();

  add(kind: string, block: number, sequence: number, start: number): void {
    let set = this.found.get(kind);
    if (!set) this.found.set(kind, (set = new Set()));
    set.add(block < 0 ? sequence : block);
    if (kind === "Copy") this.copies.set(block, start);
  }

  of(kind: string): ReadonlySet<number> {
    return this.found.get(kind) ?? NOTHING;
  }
}

/** Folds one run forwards; states kept on the way make going back fast. */
export class Steps {
  private apply!: Apply[];
  private kinds!: string[];
  private rows!: Int32Array;
  private first!: Int32Array;
  private scheduling!: Int32Array;
  private state: PoolState;
  private folded = 0; // rows that are in `state`
  private readonly keyframes: PoolState[] = []; // after 0, KEYFRAME, 2 * KEYFRAME, ... rows

  constructor(wire: ServingWire) {
    this.extend(wire);
    this.state = new PoolState(wire.num_blocks, wire.block_size ?? 1, wire.by_priority);
    this.keyframes.push(this.state.clone());
  }

  /** Go on with a longer record of the same run: all that was folded stays true. */
  extend(wire: ServingWire): void {
    this.kinds = wire.kinds;
    this.apply = wire.kinds.map((kind) => {
      const apply = APPLY[kind];
      if (!apply) throw new Error(`${kind} is no event that this figure can fold`);
      return apply;
    });
    this.rows = numbers(wire.rows) as Int32Array;
    this.first = numbers(wire.first_rows) as Int32Array;
    this.scheduling = numbers(wire.scheduling_rows) as Int32Array;
  }

  get count(): number {
    return this.scheduling.length;
  }

  /** The state after a step's scheduling, when its block tables are those that the model used. */
  at(step: number): PoolState {
    const target = this.rowAfter(step);
    const kept = Math.min(Math.floor(target / KEYFRAME), this.keyframes.length - 1);
    if (target < this.folded || kept * KEYFRAME > this.folded) {
      this.state = (this.keyframes[kept] as PoolState).clone();
      this.folded = kept * KEYFRAME;
    }
    while (this.folded < target) {
      this.fold(this.folded);
      this.folded += 1;
      if (this.folded === this.keyframes.length * KEYFRAME) this.keyframes.push(this.state.clone());
    }
    return this.state;
  }

  /** What happened between the state of the step before and that of `step`. */
  changes(step: number): Changes {
    const changes = new Changes();
    for (let row = step > 0 ? this.rowAfter(step - 1) : 0; row < this.rowAfter(step); row++) {
      const at = row * WIDTH;
      const [kind = 0, block = 0, sequence = 0, start = 0] = this.rows.subarray(at, at + 4);
      changes.add(this.kinds[kind] ?? "", block, sequence, start);
    }
    return changes;
  }

  private rowAfter(step: number): number {
    return (this.first[step] ?? 0) + (this.scheduling[step] ?? 0);
  }

  private fold(row: number): void {
    const { rows } = this;
    const at = row * WIDTH;
    const [block = 0, sequence = 0, start = 0, stop = 0] = [rows[at + 1], rows[at + 2], rows[at + 3], rows[at + 4]];
    this.apply[rows[at] ?? 0]?.(this.state, block, sequence, start, stop);
  }
}
