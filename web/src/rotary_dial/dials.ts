// Frequencies, angles and scores as they arrive from Python. Pure: knows neither Jupyter nor the DOM.

import { numbers, type PackedArray } from "../lib/arrays";

export interface Facts {
  revision: number;
  tokens: string[];
  layers: number[];
  heads: number[];
  trained_length: number;
  max_distance: number;
  shift_change: number | null; // the largest change of a score when query and key moved together; null if not measured
  largest_shift: number | null;
  scores: number[] | null; // by distance, where the caller gave them
  ropes: { scaling: string; factor: number | null; attention_factor: number; lengths: number[] }[];
  loss: { scalings: string[]; edges: number[]; loss: number[][] } | null; // nats, (scalings, buckets)
}

export interface VectorsWire {
  layer: number;
  head: number;
  multiplier: number;
  queries: PackedArray; // (tokens, D): first of each pair, second of each pair, then what is not turned
  keys: PackedArray;
}

/** What the figure shows. */
export interface View {
  query: number; // index of a token
  key: number;
  position: number;
  distance: number;
  pair: number | null;
  scaling: string;
}

type Numbers = Float32Array | Int32Array;

/** One pair's part of a score at distance d is cos · cos(d ω) + sin · sin(d ω). */
interface Parts {
  cos: Float64Array;
  sin: Float64Array;
  still: number; // what the numbers that are not turned add
}

export class Dials {
  readonly pairs: number;
  private readonly rows: Numbers[];
  private vectors: { wire: VectorsWire; queries: Numbers; keys: Numbers } | null = null;
  private parts: { of: string; parts: Parts } | null = null;

  constructor(
    readonly facts: Facts,
    frequencies: PackedArray[], // (lengths, pairs) for each rope
  ) {
    this.rows = frequencies.map(numbers);
    this.pairs = frequencies[0]?.shape[1] ?? 0;
  }

  /** Take another head's vectors; null for frequencies without any. */
  setVectors(wire: VectorsWire | null): void {
    this.vectors = wire && { wire, queries: numbers(wire.queries), keys: numbers(wire.keys) };
    this.parts = null;
  }

  get hasScores(): boolean {
    return this.vectors !== null || this.facts.scores !== null;
  }

  get hasVectors(): boolean {
    return this.vectors !== null;
  }

  /** How far the curve of scores goes. */
  get farthest(): number {
    return this.facts.scores && !this.vectors ? this.facts.scores.length - 1 : this.facts.max_distance;
  }

  /** Whether the frequencies of a scaling change with the length of the sequence. */
  followsLength(scaling: string): boolean {
    return (this.facts.ropes[this.rope(scaling)]?.lengths.length ?? 1) > 1;
  }

  rope(scaling: string): number {
    return Math.max(0, this.facts.ropes.findIndex((rope) => rope.scaling === scaling));
  }

  /** Radians a position of one pair in a sequence of `length` tokens. */
  omega(pair: number, scaling: string, length: number): number {
    const rope = this.rope(scaling);
    const lengths = this.facts.ropes[rope]?.lengths ?? [];
    const found = lengths.length === 1 ? 0 : lengths.findIndex((longest) => length <= longest);
    const row = found < 0 ? lengths.length - 1 : found;
    return this.rows[rope]?.[row * this.pairs + pair] ?? 0;
  }

  /** The angle that training reached between two hands, in radians; a full turn or more if it is above 2π. */
  reach(pair: number): number {
    const { trained_length } = this.facts;
    return (trained_length - 1) * Math.abs(this.omega(pair, this.facts.ropes[0]?.scaling ?? "none", trained_length));
  }

  /** Whether two hands this far apart stand at an angle that training never reached. */
  unreached(pair: number, view: View): boolean {
    const reach = this.reach(pair);
    const between = (view.distance * Math.abs(this.omega(pair, view.scaling, view.position + 1))) % (2 * Math.PI);
    return reach < 2 * Math.PI && between > reach + 1e-6;
  }

  /** The score of two tokens at a distance, or NaN where it is unknown. */
  score(view: View, distance: number): number {
    if (!this.vectors) return this.facts.scores?.[distance] ?? NaN;
    const { still } = this.between(view);
    let sum = still * this.vectors.wire.multiplier;
    for (let pair = 0; pair < this.pairs; pair++) sum += this.share(view, pair, distance);
    return sum;
  }

  /** What one pair adds to the score at a distance. */
  share(view: View, pair: number, distance: number): number {
    if (!this.vectors) return NaN;
    const { cos, sin } = this.between(view);
    const angle = distance * this.omega(pair, view.scaling, Math.max(view.position, distance) + 1);
    const factor = this.facts.ropes[this.rope(view.scaling)]?.attention_factor ?? 1;
    const turned = (cos[pair] ?? 0) * Math.cos(angle) + (sin[pair] ?? 0) * Math.sin(angle);
    return turned * factor * factor * this.vectors.wire.multiplier;
  }

  /** The most that one pair can add to the score. */
  amplitude(view: View, pair: number): number {
    if (!this.vectors) return 0;
    const { cos, sin } = this.between(view);
    return Math.hypot(cos[pair] ?? 0, sin[pair] ?? 0) * Math.abs(this.vectors.wire.multiplier);
  }

  /** The pair that is shown large: the chosen one, else one that turns about eight times in training. */
  shown(view: View): number {
    if (view.pair !== null) return view.pair;
    const turns = Array.from({ length: this.pairs }, (_, pair) => Math.abs(Math.log(this.reach(pair) / (16 * Math.PI))));
    return Math.max(0, turns.indexOf(Math.min(...turns)));
  }

  private between(view: View): Parts {
    const of = `${view.query} ${view.key}`;
    if (this.parts?.of !== of) this.parts = { of, parts: this.multiply(view.query, view.key) };
    return this.parts.parts;
  }

  private multiply(query: number, key: number): Parts {
    const { pairs, vectors } = this;
    const size = vectors?.wire.queries.shape[1] ?? 0;
    const q = (i: number): number => vectors?.queries[query * size + i] ?? 0;
    const k = (i: number): number => vectors?.keys[key * size + i] ?? 0;
    const parts = { cos: new Float64Array(pairs), sin: new Float64Array(pairs), still: 0 };
    for (let i = 0; i < pairs; i++) {
      parts.cos[i] = q(i) * k(i) + q(i + pairs) * k(i + pairs);
      parts.sin[i] = q(i) * k(i + pairs) - q(i + pairs) * k(i);
    }
    for (let i = 2 * pairs; i < size; i++) parts.still += q(i) * k(i);
    return parts;
  }
}
