// The text strip: the tokens as running text, shaded by where the chosen rows look.

import { h } from "../lib/dom";
import { running } from "../lib/tokens";
import type { Facts } from "./paint";

const AROUND = 400; // tokens on each side of the chosen one, so that long texts stay quick

/** Shows tokens as text; calls `choose` with the token's position when one is clicked. */
export class TextStrip {
  readonly element = h("div", { class: "lw-strip", "aria-hidden": "true" });
  private spans: HTMLSpanElement[] = [];
  private first = 0;
  private facts: Facts | null = null;

  constructor(choose: (position: number) => void, hover: (position: number | null) => void, signal: AbortSignal) {
    const positionOf = (event: Event): number | null => {
      const index = this.spans.indexOf(event.target as HTMLSpanElement);
      return index < 0 ? null : this.first + index;
    };
    const onClick = (event: Event): void => {
      const position = positionOf(event);
      if (position !== null) choose(position);
    };
    this.element.addEventListener("click", onClick, { signal });
    this.element.addEventListener("pointermove", (event) => hover(positionOf(event)), { signal });
    this.element.addEventListener("pointerleave", () => hover(null), { signal });
  }

  /** Show the tokens around `centre`; `shares` is the attention on each key position. */
  show(facts: Facts, centre: number, marked: number[], shares: (position: number) => number): void {
    const first = Math.max(0, Math.min(centre - AROUND, facts.tokens.length - 2 * AROUND));
    if (facts !== this.facts || first !== this.first) this.fill(facts, first);
    this.spans.forEach((span, i) => {
      const position = this.first + i;
      const strength = Math.round(78 * Math.sqrt(Math.min(1, shares(position))));
      span.style.backgroundColor = strength ? `color-mix(in srgb, var(--lw-accent) ${strength}%, transparent)` : "";
      span.classList.toggle("lw-chosen", marked.includes(position));
    });
  }

  private fill(facts: Facts, first: number): void {
    this.facts = facts;
    this.first = first;
    this.spans = facts.tokens.slice(first, first + 2 * AROUND).map((token, i) => {
      const span = h("span", {}, running(token));
      span.classList.toggle("lw-edited", facts.edited === first + i);
      const row = facts.query_positions.indexOf(first + i);
      span.classList.toggle("lw-moved", (facts.moved[row] ?? 0) > 0);
      return span;
    });
    this.element.replaceChildren(...this.spans);
  }
}
