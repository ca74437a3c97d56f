// The text so far: the prompt, then each new token to click on.

import { h } from "../lib/dom";
import { running } from "../lib/tokens";
import { counted } from "./axis";
import type { Facts, StepsWire } from "./steps";

export class TextPanel {
  readonly element = h("div", { class: "lw-nt-text" });
  private tokens: HTMLElement[] = [];
  private shown = -1;

  constructor(choose: (step: number) => void, signal: AbortSignal) {
    const click = (event: Event): void => {
      const step = this.tokens.indexOf(event.target as HTMLElement);
      if (step >= 0) choose(step);
    };
    this.element.addEventListener("click", click, { signal });
  }

  /** A new record: write all of its tokens. */
  fill(facts: Facts, wire: StepsWire): void {
    const prompt = facts.prompt.map((token) => h("i", {}, running(token)));
    if (facts.before) prompt.unshift(h("i", {}, `… ${counted(facts.before)} tokens before … `));
    this.tokens = wire.chosen.map((place, step) => {
      const token = h("b", {}, running(wire.texts[step]?.[place] ?? ""));
      token.classList.toggle("lw-nt-forced", step < facts.forced);
      return token;
    });
    this.shown = -1;
    this.element.replaceChildren(...prompt, ...this.tokens);
  }

  /** Mark one step's token, grey out those after it, and bring it into view. */
  mark(step: number): void {
    if (step === this.shown) return;
    this.tokens.forEach((token, i) => {
      token.classList.toggle("lw-nt-now", i === step);
      token.classList.toggle("lw-nt-later", i > step);
    });
    this.shown = step;
    const [token, box] = [this.tokens[step], this.element];
    if (!token) return;
    const above = token.offsetTop < box.scrollTop;
    const below = token.offsetTop + token.offsetHeight > box.scrollTop + box.clientHeight;
    if (above || below) box.scrollTop = token.offsetTop - box.clientHeight / 2;
  }
}
