// The pool at a step as it is drawn, from a run or from given tables; pure.

import { numbers } from "../lib/arrays";
import { NONE, PoolState } from "./state";
import { Changes, Steps } from "./steps";
import type { GivenWire, PoolFacts, PoolWire, ServingWire } from "./wire";

/** Token slots of one kind. */
export interface Part {
  name: string;
  slots: number;
}

/** Everything about one step. */
export interface Moment {
  step: number;
  state: PoolState;
  changes: Changes;
  owners: Owners;
  use: Part[];
}

/** Which sequences hold each block, in the order in which they run. */
export class Owners {
  private readonly first: Int32Array; // (blocks + 1,)
  private readonly holders: Int32Array;

  constructor(state: PoolState) {
    const tables = state.running.map((sequence) => ({ sequence, blocks: state.tables.get(sequence) ?? [] }));
    const first = new Int32Array(state.numBlocks + 1);
    for (const { blocks } of tables) for (const block of blocks) first[block + 1] = (first[block + 1] ?? 0) + 1;
    for (let block = 0; block < state.numBlocks; block++) first[block + 1] = (first[block + 1] ?? 0) + (first[block] ?? 0);
    const next = first.slice();
    this.holders = new Int32Array(first[state.numBlocks] ?? 0);
    for (const { sequence, blocks } of tables) {
      for (const block of blocks) {
        this.holders[next[block] ?? 0] = sequence;
        next[block] = (next[block] ?? 0) + 1;
      }
    }
    this.first = first;
  }

  count(block: number): number {
    return (this.first[block + 1] ?? 0) - (this.first[block] ?? 0);
  }

  at(block: number, index: number): number {
    return this.holders[(this.first[block] ?? 0) + index] ?? NONE;
  }

  of(block: number): number[] {
    return [...this.holders.subarray(this.first[block], this.first[block + 1])];
  }
}

/** The moments of one record. */
export abstract class Pool {
  facts!: PoolFacts;
  private slots!: Float32Array | Int32Array; // (steps, parts)

  constructor(facts: PoolFacts) {
    this.setFacts(facts);
  }

  protected setFacts(facts: PoolFacts): void {
    this.facts = facts;
    this.slots = numbers(facts.slot_use.slots);
  }

  abstract get count(): number;
  /** Whether steps follow each other, so that blocks come, go and are cached. */
  abstract readonly isRun: boolean;
  protected abstract state(step: number): PoolState;

  moment(step: number): Moment {
    const state = this.state(step);
    return { step, state, changes: this.changes(step), owners: new Owners(state), use: this.use(step, state) };
  }

  /** Token ids in a block; null where none are known. */
  tokens(_state: PoolState, _block: number): Int32Array | null {
    return null;
  }

  /** Eight hexadecimal digits of the hash that a block is found by, or of its parent's. */
  hash(_number: number): string {
    return "";
  }

  protected changes(_step: number): Changes {
    return new Changes();
  }

  /** What the slots hold; free ones that can still be found by their tokens are told apart. */
  private use(step: number, state: PoolState): Part[] {
    const { parts } = this.facts.slot_use;
    const use = parts.map((name, i) => ({ name, slots: this.slots[step * parts.length + i] ?? 0 }));
    let cached = 0;
    for (let block = 0; block < state.numBlocks; block++) {
      if (state.cached(block) && !state.inUse(block)) cached += state.blockSize;
    }
    const free = use.find((part) => part.name === "free");
    if (!free || !cached) return use;
    free.slots -= cached;
    return [...use.slice(0, -1), { name: "cached", slots: cached }, free];
  }
}

class ServingPool extends Pool {
  readonly isRun = true;
  private readonly steps: Steps;
  private all: Int32Array;
  private offsets: Int32Array;
  private hashes: Int32Array;

  constructor(wire: ServingWire) {
    super(wire);
    this.steps = new Steps(wire);
    [this.all, this.offsets, this.hashes] = arraysOf(wire);
  }

  /** Take a longer record of the same run. */
  extend(wire: ServingWire): void {
    this.setFacts(wire);
    this.steps.extend(wire);
    [this.all, this.offsets, this.hashes] = arraysOf(wire);
  }

  get count(): number {
    return this.steps.count;
  }

  override tokens(state: PoolState, block: number): Int32Array {
    const first = (this.offsets[state.fillers[block] ?? 0] ?? 0) + (state.starts[block] ?? 0);
    return this.all.subarray(first, first + state.held(block));
  }

  override hash(number: number): string {
    return number === NONE ? "" : ((this.hashes[number] ?? 0) >>> 0).toString(16).padStart(8, "0");
  }

  protected state(step: number): PoolState {
    return this.steps.at(step);
  }

  protected override changes(step: number): Changes {
    return this.steps.changes(step);
  }
}

class GivenPool extends Pool {
  readonly count = 1;
  readonly isRun = false;
  private readonly only: PoolState;

  constructor(wire: GivenWire) {
    super(wire);
    const state = (this.only = new PoolState(wire.num_blocks, wire.block_size ?? 1, false));
    const [blocks, offsets] = [numbers(wire.table_blocks), numbers(wire.table_offsets)];
    wire.sequences.forEach((_, sequence) => {
      state.running.push(sequence);
      const tokens = wire.table_tokens?.[sequence];
      if (tokens !== undefined) state.computed.set(sequence, tokens);
      state.tables.set(sequence, [...blocks.subarray(offsets[sequence], offsets[sequence + 1])]);
    });
    state.refCounts.set(numbers(wire.ref_counts));
    state.counts.set(numbers(wire.filled));
  }

  protected state(): PoolState {
    return this.only;
  }
}

/** The pool of a record; a longer record of the run that `before` shows is taken over by it. */
export function poolOf(wire: PoolWire, before: Pool | null): Pool {
  if (wire.kind === "given") return new GivenPool(wire);
  if (!(before instanceof ServingPool) || before.facts.run !== wire.run) return new ServingPool(wire);
  before.extend(wire);
  return before;
}

function arraysOf(wire: ServingWire): [Int32Array, Int32Array, Int32Array] {
  const [all, offsets, hashes] = [wire.tokens, wire.token_offsets, wire.hashes].map(numbers);
  return [all as Int32Array, offsets as Int32Array, hashes as Int32Array];
}
