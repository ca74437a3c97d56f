// Builds and updates the parts of the figure. Tokens reach the page as text nodes only.

import { format } from "d3-format";
import { h } from "../lib/dom";
import { quoted, running, visible } from "../lib/tokens";
import { type Candidate, drawParts, type Steps } from "./candidates";

export const ROWS = 14; // candidates that are drawn as bars
const share = format(".3f");
const bits = format(".2f");

export interface Facts {
  revision: number;
  prompt: string[];
  forced: number; // how many of the first new tokens were picked by hand
  greedy: boolean;
}

/** The text so far: the prompt, then each new token to click on. */
export function textParts(facts: Facts, steps: Steps, step: number): HTMLElement[] {
  const prompt = facts.prompt.map((token) => h("i", {}, running(token)));
  const made = steps.wire.chosen.map((index, i) => {
    const token = h("b", { "data-step": i }, running(steps.wire.texts[i]?.[index] ?? ""));
    token.classList.toggle("lw-now", i === step);
    token.classList.toggle("lw-later", i > step);
    token.classList.toggle("lw-forced", i < facts.forced);
    return token;
  });
  return [...prompt, ...made];
}

/** One row a candidate: its text, the model's probability as an outline, the drawn-from one filled. */
export function bars(candidates: Candidate[], chosen: number, cursor: number | null): HTMLElement[] {
  const shown = rowsOf(candidates, chosen);
  const most = Math.max(...shown.map((candidate) => Math.max(candidate.model, candidate.drawn)), 1e-6);
  return shown.map((candidate, row) => {
    const width = (probability: number): string => `width: ${(100 * probability) / most}%`;
    const bar = h("span", { class: "lw-bar" }, h("u", { style: width(candidate.drawn) }), h("s", { style: width(candidate.model) }));
    const why = candidate.index === chosen ? "drawn" : candidate.cutBy ? `out: ${candidate.cutBy}` : "";
    const line = h(
      "button",
      { type: "button", tabindex: -1, "data-candidate": candidate.index },
      h("span", { class: "lw-name" }, visible(candidate.text, 16)),
      bar,
      h("span", {}, share(candidate.cutBy ? candidate.model : candidate.drawn)),
      h("span", { class: "lw-why" }, why),
    );
    line.classList.toggle("lw-cut", candidate.cutBy !== null);
    line.classList.toggle("lw-drawn", candidate.index === chosen);
    line.classList.toggle("lw-cursor", row === cursor);
    return line;
  });
}

/** The most probable candidates; the drawn one takes the last row if it is not among them. */
export function rowsOf(candidates: Candidate[], chosen: number): Candidate[] {
  const shown = candidates.slice(0, ROWS);
  const drawn = candidates[chosen];
  if (drawn && !shown.includes(drawn)) shown[ROWS - 1] = drawn;
  return shown;
}

/** The strip from 0 to 1 and the mark of the number that was drawn. */
export function drawStrip(candidates: Candidate[], uniform: number | null): HTMLElement[] {
  const parts = drawParts(candidates).map(({ candidate, start, stop }, i) => {
    const place = `left: ${100 * start}%; width: ${100 * (stop - start)}%; --share: ${Math.max(8, 60 - 9 * i)}%`;
    const name = candidate ? visible(candidate.text, 8) : "others";
    return h("div", { style: place }, stop - start > 0.045 ? name : "");
  });
  if (uniform === null) return parts;
  const mark = h("em", { style: `left: ${100 * uniform}%`, "data-label": `drawn u = ${share(uniform)}` });
  mark.classList.toggle("lw-right", uniform > 0.75);
  return [...parts, mark];
}

/** The sentence for a step, or for the candidate under the cursor. */
export function sentence(facts: Facts, steps: Steps, step: number, candidate: Candidate | null): string {
  const { wire } = steps;
  const index = wire.chosen[step] ?? 0;
  const list = steps.candidates(step);
  const drawn = list[index];
  if (!drawn) return "Nothing was generated.";
  if (candidate) {
    const fate = candidate.cutBy ? `${candidate.cutBy} took it out` : `drawn from with ${share(candidate.drawn)}`;
    return `${quoted(candidate.text)}: the model gives it ${share(candidate.model)}; ${fate}. Enter goes on from here with it.`;
  }
  const left = wire.kept[step]?.at(-1) ?? 0;
  const how = step < facts.forced ? "picked by hand" : facts.greedy ? "the most probable" : `u = ${share(wire.uniforms[step] ?? 0)}`;
  const entropy = `entropy ${bits(wire.entropies[step] ?? 0)} bits`;
  return `Step ${step + 1} of ${steps.count}: ${quoted(drawn.text)}, ${how}, model's probability ${share(drawn.model)}; ${left} tokens were left to draw from, ${entropy}.`;
}
