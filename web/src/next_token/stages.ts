// The stages in their order, each with the number of tokens that it left; a click shows what it left.

import { h } from "../lib/dom";
import { counted } from "./axis";
import type { Step } from "./steps";

const MEANING: Record<string, string> = {
  model: "The model's own probabilities, of the whole vocabulary",
  penalties: "Tokens that were seen before become less probable",
  temperature: "Logits are divided by the temperature: below 1 sharper, above 1 flatter",
  greedy: "Temperature 0: only the most probable token stays",
  min_p: "Tokens below this share of the top probability go",
  top_k: "Only this many of the most probable tokens stay",
  top_p: "The smallest set of tokens that reaches this probability stays",
};

export class StageLine {
  readonly element = h("div", { class: "lw-nt-stages" });
  private chips: HTMLButtonElement[] = [];

  constructor(choose: (stage: string) => void, signal: AbortSignal) {
    const click = (event: Event): void => {
      const chip = this.chips.find((chip) => chip.contains(event.target as Node));
      if (chip) choose(chip.value);
    };
    this.element.addEventListener("click", click, { signal });
  }

  show(step: Step, stage: number): void {
    if (step.stages.join() !== this.chips.map((chip) => chip.value).join()) this.fill(step.stages);
    this.chips.forEach((chip, i) => {
      chip.lastElementChild!.textContent = counted(step.kept[i] ?? 0);
      chip.setAttribute("aria-pressed", String(i === stage));
    });
  }

  private fill(stages: string[]): void {
    this.chips = stages.map((stage) => {
      const attributes = { type: "button", value: stage, title: MEANING[stage] ?? stage };
      return h("button", attributes, h("span", {}, stage), h("b", {}));
    });
    const arrows = this.chips.flatMap((chip, i) => (i ? [h("span", { "aria-hidden": "true" }, "→"), chip] : [chip]));
    this.element.replaceChildren(h("span", {}, "tokens left:"), ...arrows);
  }
}
