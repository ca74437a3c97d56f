// The candidates of one step: what each stage left of each token. Pure: knows neither Jupyter nor the DOM.

import { numbers, type PackedArray } from "../lib/arrays";

export interface StepsWire {
  revision: number;
  stages: string[]; // "model" first, then each sampling stage in its order
  texts: string[][]; // (steps, candidates)
  chosen: number[]; // index of the drawn token among the candidates of each step
  uniforms: (number | null)[]; // what was drawn from [0, 1); null when greedy
  entropies: number[]; // bits, of the distribution that was drawn from
  kept: number[][]; // (steps, stages): tokens that a stage left
  token_ids: PackedArray; // (steps, candidates)
  probabilities: PackedArray; // (steps, stages, candidates)
}

export interface Candidate {
  index: number;
  tokenId: number;
  text: string;
  model: number; // the model's own probability
  drawn: number; // the probability that it was drawn with; 0 if a stage took it out
  cutBy: string | null; // the first stage that took it out
}

/** The steps of a generation as the front end reads them. */
export class Steps {
  private readonly probabilities: Float32Array | Int32Array;
  private readonly tokenIds: Float32Array | Int32Array;

  constructor(readonly wire: StepsWire) {
    this.probabilities = numbers(wire.probabilities);
    this.tokenIds = numbers(wire.token_ids);
  }

  get count(): number {
    return this.wire.texts.length;
  }

  /** The candidates of a step, the most probable first. */
  candidates(step: number): Candidate[] {
    const { stages, texts } = this.wire;
    return (texts[step] ?? []).map((text, index) => {
      const last = this.probability(step, stages.length - 1, index);
      const cut = last > 0 ? -1 : stages.findIndex((_, stage) => this.probability(step, stage, index) === 0);
      return {
        index,
        text,
        tokenId: this.tokenIds[step * (texts[step]?.length ?? 0) + index] ?? 0,
        model: this.probability(step, 0, index),
        drawn: last,
        cutBy: cut < 0 ? null : (stages[cut] ?? null),
      };
    });
  }

  private probability(step: number, stage: number, index: number): number {
    const width = this.wire.texts[step]?.length ?? 0;
    return this.probabilities[(step * this.wire.stages.length + stage) * width + index] ?? 0;
  }
}

/** The parts of the strip from 0 to 1 in which the uniform number falls: candidates by probability, then the rest. */
export function drawParts(candidates: Candidate[]): { candidate: Candidate | null; start: number; stop: number }[] {
  const parts: { candidate: Candidate | null; start: number; stop: number }[] = [];
  let start = 0;
  for (const candidate of [...candidates].sort((a, b) => b.drawn - a.drawn)) {
    if (candidate.drawn === 0) break;
    parts.push({ candidate, start, stop: Math.min(1, start + candidate.drawn) });
    start += candidate.drawn;
  }
  if (start < 0.9995) parts.push({ candidate: null, start, stop: 1 });
  return parts;
}
