// Queues and blocks at one moment: the fold of all events before it. The twin of Python's `ServingState`.

export const NONE = -1;

interface Arrival {
  rank: number; // of its priority: lower goes first
  number: number;
}

export class PoolState {
  running: number[] = []; // sequences, as all names of sequences here by number
  waiting: number[] = [];
  tables = new Map<number, number[]>();
  computed = new Map<number, number>(); // tokens whose keys and values are there
  refCounts: Int32Array; // these by block
  hashes: Int32Array; // number of the hash that the block is found by, or NONE
  parents: Int32Array; // number of the hash of the block before, or NONE
  // A block holds `counts` tokens of a sequence, from position `starts` on. One that another sequence goes on
  // writing after a copy counts as all the other's: it wrote after tokens that are its own too.
  fillers: Int32Array;
  starts: Int32Array;
  counts: Int32Array; // NONE if not known
  private arrivals = new Map<number, Arrival>();

  constructor(
    readonly numBlocks: number,
    readonly blockSize: number,
    readonly byPriority: boolean,
  ) {
    const filled = (value: number): Int32Array => new Int32Array(numBlocks).fill(value);
    this.refCounts = filled(0);
    this.hashes = filled(NONE);
    this.parents = filled(NONE);
    this.fillers = filled(NONE);
    this.starts = filled(0);
    this.counts = filled(0);
  }

  clone(): PoolState {
    const copy = new PoolState(this.numBlocks, this.blockSize, this.byPriority);
    copy.running = [...this.running];
    copy.waiting = [...this.waiting];
    copy.tables = new Map([...this.tables].map(([sequence, table]) => [sequence, [...table]]));
    copy.computed = new Map(this.computed);
    copy.arrivals = new Map(this.arrivals);
    for (const name of ["refCounts", "hashes", "parents", "fillers", "starts", "counts"] as const) {
      copy[name].set(this[name]);
    }
    return copy;
  }

  inUse(block: number): boolean {
    return (this.refCounts[block] ?? 0) > 0;
  }

  /** Whether a block can be found by its tokens. */
  cached(block: number): boolean {
    return (this.hashes[block] ?? NONE) !== NONE;
  }

  /** Tokens that a block holds; NONE if not known. */
  held(block: number): number {
    return this.inUse(block) || this.cached(block) ? (this.counts[block] ?? 0) : 0;
  }

  take(block: number, sequence: number): void {
    this.table(sequence).push(block);
    this.refCounts[block] = 1;
    this.counts[block] = 0;
  }

  share(block: number, sequence: number): void {
    this.table(sequence).push(block);
    this.refCounts[block] = (this.refCounts[block] ?? 0) + 1;
  }

  fill(block: number, sequence: number, start: number, stop: number): void {
    const first = start - (start % this.blockSize);
    this.fillers[block] = sequence;
    this.starts[block] = first;
    this.counts[block] = stop - first;
    this.computed.set(sequence, stop);
  }

  cache(block: number, hash: number, parent: number): void {
    this.hashes[block] = hash;
    this.parents[block] = parent;
  }

  evict(block: number): void {
    this.hashes[block] = NONE;
    this.parents[block] = NONE;
  }

  copy(source: number, block: number, sequence: number): void {
    const table = this.table(sequence);
    table[table.indexOf(source)] = block;
    this.refCounts[block] = 1;
    for (const array of [this.fillers, this.starts, this.counts]) array[block] = array[source] ?? 0;
    this.release(source);
  }

  free(block: number, sequence: number): void {
    const table = this.table(sequence);
    table.splice(table.lastIndexOf(block), 1);
    this.release(block);
  }

  add(sequence: number, rank: number): void {
    this.arrivals.set(sequence, { rank, number: this.arrivals.size });
    this.waiting.push(sequence);
    this.sort();
  }

  admit(sequence: number, cachedTokens: number): void {
    this.waiting.splice(this.waiting.indexOf(sequence), 1);
    this.running.push(sequence);
    this.tables.set(sequence, []);
    this.computed.set(sequence, cachedTokens);
  }

  preempt(sequence: number): void {
    this.leave(sequence);
    this.waiting.unshift(sequence);
    this.sort();
  }

  /** Take a sequence out of its queue; its blocks go with the Free events that follow. */
  leave(sequence: number): void {
    const queue = this.running.includes(sequence) ? this.running : this.waiting;
    queue.splice(queue.indexOf(sequence), 1);
    this.computed.delete(sequence);
  }

  private table(sequence: number): number[] {
    const table = this.tables.get(sequence);
    if (table) return table;
    const made: number[] = [];
    this.tables.set(sequence, made);
    return made;
  }

  private release(block: number): void {
    this.refCounts[block] = (this.refCounts[block] ?? 0) - 1;
  }

  private sort(): void {
    if (!this.byPriority) return;
    const of = (sequence: number): Arrival => this.arrivals.get(sequence) ?? { rank: 0, number: 0 };
    this.waiting.sort((a, b) => of(a).rank - of(b).rank || of(a).number - of(b).number);
  }
}
