// The steps of a generation as they travel from Python. Pure: knows neither Jupyter nor the DOM.

import { numbers, type PackedArray } from "../lib/arrays";

export interface Facts {
  revision: number;
  prompt: string[]; // its last tokens
  before: number; // tokens of the prompt before those
  forced: number; // how many of the first new tokens were picked by hand
}

export interface StepsWire {
  revision: number;
  stages: string[]; // "model" first, then each sampling stage in its order
  texts: string[][]; // (steps, candidates)
  chosen: number[]; // place of the new token among the candidates of each step
  uniforms: (number | null)[]; // what was drawn from [0, 1); null when greedy, picked or given
  entropies: number[][]; // (steps, stages), bits
  kept: number[][]; // (steps, stages): tokens that a stage left
  token_ids: PackedArray; // (steps, candidates)
  probabilities: PackedArray; // (steps, stages, candidates)
  starts: PackedArray; // (steps, candidates): where each part of the draw from 0 to 1 begins
}

export interface WhatIfWire extends StepsWire {
  step: number; // the one step it holds, as it would be with other settings
}

export interface Candidate {
  place: number; // among the candidates, by the model's probability
  tokenId: number;
  text: string;
  after: number[]; // probability after each stage
  start: number;
}

export interface Step {
  index: number; // counted from 0
  count: number; // steps of the generation
  hypothetical: boolean; // under other settings than the engine ran with
  forced: boolean;
  stages: string[];
  kept: number[];
  entropies: number[];
  uniform: number | null;
  chosen: Candidate;
  candidates: Candidate[];
}

/** The steps of a generation, and the one step that was computed under other settings. */
export class Steps {
  private readonly parts: Unpacked;

  constructor(
    readonly wire: StepsWire,
    private readonly facts: Facts,
  ) {
    this.parts = unpack(wire);
  }

  get count(): number {
    return this.wire.texts.length;
  }

  /** The step at `index`; under other settings if `whatIf` holds that step. */
  at(index: number, whatIf: Partial<WhatIfWire>): Step {
    const other = whatIf.step === index && whatIf.revision === this.wire.revision ? (whatIf as WhatIfWire) : null;
    const [wire, parts, row] = other ? [other, unpack(other), 0] : [this.wire, this.parts, index];
    const candidates = candidatesOf(wire, parts, row);
    return {
      index,
      count: this.count,
      hypothetical: other !== null,
      forced: index < this.facts.forced,
      stages: wire.stages,
      kept: wire.kept[row] ?? [],
      entropies: wire.entropies[row] ?? [],
      uniform: wire.uniforms[row] ?? null,
      chosen: candidates[wire.chosen[row] ?? 0]!, // Python puts it among the candidates
      candidates,
    };
  }

  /** The new tokens of the first `count` steps. */
  tokenIds(count: number): number[] {
    const width = this.wire.texts[0]?.length ?? 0;
    return this.wire.chosen.slice(0, count).map((place, i) => this.parts.tokenIds[i * width + place] ?? 0);
  }
}

/** The first stage up to `stage` that took the candidate out; null if it is still in. */
export function cutBy(step: Step, candidate: Candidate, stage: number): string | null {
  if ((candidate.after[stage] ?? 0) > 0) return null;
  return step.stages[candidate.after.indexOf(0)] ?? null;
}

/** The place of a stage by its name; the last one if there is none of that name. */
export function stageIndex(step: Step, name: string | null): number {
  const index = name === null ? -1 : step.stages.indexOf(name);
  return index < 0 ? step.stages.length - 1 : index;
}

type Floats = Float32Array | Int32Array;

interface Unpacked {
  tokenIds: Floats;
  probabilities: Floats;
  starts: Floats;
}

function unpack(wire: StepsWire): Unpacked {
  return {
    tokenIds: numbers(wire.token_ids),
    probabilities: numbers(wire.probabilities),
    starts: numbers(wire.starts),
  };
}

function candidatesOf(wire: StepsWire, parts: Unpacked, row: number): Candidate[] {
  const texts = wire.texts[row] ?? [];
  const first = row * texts.length;
  return texts.map((text, place) => ({
    place,
    text,
    tokenId: parts.tokenIds[first + place] ?? 0,
    start: parts.starts[first + place] ?? 0,
    after: wire.stages.map((_, stage) => {
      return parts.probabilities[(row * wire.stages.length + stage) * texts.length + place] ?? 0;
    }),
  }));
}
