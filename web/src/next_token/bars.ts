// The candidates as bars. Rows stay where they are and change their lengths, so that bars move.

import { h } from "../lib/dom";
import { visible } from "../lib/tokens";
import { type Axis, axis, type Scale, written } from "./axis";
import { type Candidate, cutBy, type Step } from "./steps";

const ROWS = 14;

/** The most probable candidates; the new token takes the last row if it is not among them. */
export function rowsOf(step: Step): Candidate[] {
  const shown = step.candidates.slice(0, ROWS);
  if (!shown.includes(step.chosen)) shown[shown.length - 1] = step.chosen;
  return shown;
}

/** The axis that has room for every row before and after the stage. */
export function axisOf(step: Step, stage: number, scale: Scale): Axis {
  return axis(scale, rowsOf(step).flatMap(({ after }) => [after[0] ?? 0, after[stage] ?? 0]));
}

/** What the last column says of a candidate: its probability, or the stage that took it out. */
export function fate(step: Step, candidate: Candidate, stage: number): string {
  const cut = cutBy(step, candidate, stage);
  return cut === null || cut === "model" ? written(candidate.after[stage] ?? 0) : `✕ ${cut}`;
}

export class Bars {
  readonly element = h("div", { class: "lw-nt-bars" });
  private readonly ticks = h("span", { class: "lw-nt-ticks" });
  private readonly heading = h("span", {});
  private rows: Row[] = [];

  constructor() {
    const cells = [h("span", { class: "lw-nt-name" }, "token"), this.ticks, h("span", {}, "model"), this.heading];
    this.element.append(h("div", { class: "lw-nt-row lw-nt-top", "aria-hidden": "true" }, ...cells));
  }

  /** The place of the row among those shown, for an event on it; null outside the rows. */
  rowAt(event: Event): number | null {
    const index = this.rows.findIndex((row) => row.element.contains(event.target as Node));
    return index < 0 ? null : index;
  }

  show(step: Step, stage: number, scale: Scale, cursor: number | null): void {
    const shown = rowsOf(step);
    const scaled = axisOf(step, stage, scale);
    this.heading.textContent = stage === step.stages.length - 1 ? "drawn from" : "after stage";
    this.ticks.replaceChildren(
      ...scaled.ticks.map(({ at, label }) => h("i", { style: `left: ${100 * at}%` }, label)),
    );
    while (this.rows.length < shown.length) {
      const row = new Row();
      this.rows.push(row);
      this.element.append(row.element);
    }
    for (const row of this.rows.splice(shown.length)) row.element.remove();
    shown.forEach((candidate, i) => this.rows[i]?.show(step, candidate, stage, scaled, i === cursor));
  }
}

class Row {
  private readonly name = h("span", { class: "lw-nt-name" });
  private readonly filled = h("u", {});
  private readonly outline = h("s", {});
  private readonly model = h("span", { class: "lw-nt-number" });
  private readonly fate = h("span", { class: "lw-nt-number" });
  readonly element = h(
    "button",
    { type: "button", tabindex: -1, class: "lw-nt-row" },
    this.name,
    h("span", { class: "lw-nt-bar" }, this.filled, this.outline),
    this.model,
    this.fate,
  );

  show(step: Step, candidate: Candidate, stage: number, axis: Axis, underCursor: boolean): void {
    const [model = 0, shown = 0] = [candidate.after[0], candidate.after[stage]];
    this.name.textContent = visible(candidate.text, 16);
    this.filled.style.width = `${100 * axis.place(shown)}%`;
    this.outline.style.width = `${100 * axis.place(model)}%`;
    this.model.textContent = written(model);
    this.fate.textContent = fate(step, candidate, stage);
    this.element.classList.toggle("lw-nt-cut", shown === 0);
    this.element.classList.toggle("lw-nt-chosen", candidate === step.chosen);
    this.element.classList.toggle("lw-nt-cursor", underCursor);
  }
}
