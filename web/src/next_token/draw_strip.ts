// The draw: all probabilities end to end from 0 to 1, and the number that picked the token among them.

import { h } from "../lib/dom";
import { visible } from "../lib/tokens";
import type { Candidate, Step } from "./steps";

export interface Part {
  candidate: Candidate;
  start: number;
  share: number;
}

/** The parts that are wide enough to be seen, by their start; between them lie all other tokens. */
export function partsOf(step: Step): Part[] {
  return step.candidates
    .map((candidate) => ({ candidate, start: candidate.start, share: candidate.after.at(-1) ?? 0 }))
    .filter(({ share }) => share > 1e-4)
    .sort((a, b) => a.start - b.start);
}

/** The token's text if it fits on a part of `width` pixels, else nothing. */
export function label(candidate: Candidate, width: number): string {
  const text = visible(candidate.text, 8);
  return width > 6.5 * text.length + 3 ? text : "";
}

/** What stands above the strip. */
export function caption(step: Step): string {
  if (step.forced) return "no draw: this token was picked by hand";
  if (step.uniform === null) return step.stages.includes("greedy") ? "no draw: the most probable is taken" : "no draw";
  return "the draw: probabilities end to end, 0 to 1";
}

export class DrawStrip {
  private readonly caption = h("span", { class: "lw-nt-caption" });
  private readonly parts = h("div", { class: "lw-nt-parts" });
  private readonly mark = h("em", {});
  readonly element = h("div", { class: "lw-nt-draw" }, this.caption, this.parts, this.mark);

  /** Show the draw of one step on a strip of `width` CSS pixels. */
  show(step: Step, width: number): void {
    this.caption.textContent = caption(step);
    this.parts.replaceChildren(
      ...partsOf(step).map(({ candidate, start, share }, i) => {
        const strength = Math.max(12, 62 - 10 * i);
        const style = `left: ${100 * start}%; width: ${100 * share}%; --share: ${strength}%`;
        const part = h("div", { style }, label(candidate, share * width));
        part.classList.toggle("lw-nt-hit", candidate === step.chosen);
        return part;
      }),
    );
    this.mark.hidden = step.uniform === null;
    if (step.uniform === null) return;
    this.mark.style.left = `${100 * step.uniform}%`;
    this.mark.dataset["label"] = `u = ${step.uniform.toFixed(3)}`;
    this.mark.classList.toggle("lw-nt-right", step.uniform > 0.75);
  }
}
