// What stands above the dials: two sliders, the button that shifts both, scalings, layer and head.

import { h } from "../lib/dom";
import type { Facts, View } from "./dials";

export interface Actions {
  moveTo(position: number): void;
  spreadTo(distance: number): void;
  scale(scaling: string): void;
  head(layer: number, head: number): void;
  play(): void;
}

const STEPS = 1000; // of a slider

export class Controls {
  readonly root: HTMLElement;
  private readonly position: Slider;
  private readonly distance: Slider;
  private readonly scalings = h("span", { class: "lw-rd-group", role: "radiogroup", "aria-label": "Scaling" });
  private readonly layer = h("select", { "aria-label": "Layer" });
  private readonly head = h("select", { "aria-label": "Head" });
  private readonly heads = h("span", { class: "lw-rd-group" }, "layer ", this.layer, " head ", this.head);
  private readonly playing = h("button", { type: "button", class: "lw-rd-play", "aria-pressed": "false" }, "▶ shift both");
  private facts: Facts | null = null;

  constructor(private readonly actions: Actions, signal: AbortSignal) {
    this.position = new Slider("query at", (share, most) => share * most, (value, most) => value / most, actions.moveTo, signal);
    // Near distances are the ones that differ, so half of the slider is theirs.
    this.distance = new Slider(
      "distance",
      (share, most) => Math.expm1(share * Math.log1p(most)),
      (value, most) => Math.log1p(value) / Math.log1p(most),
      actions.spreadTo,
      signal,
    );
    this.playing.title = "Move query and key together: every hand turns, no angle between them does";
    this.playing.addEventListener("click", () => actions.play(), { signal });
    const choose = (): void => actions.head(Number(this.layer.value), Number(this.head.value));
    this.layer.addEventListener("change", choose, { signal });
    this.head.addEventListener("change", choose, { signal });
    const parts = [this.position.root, this.distance.root, this.playing, this.scalings, this.heads];
    this.root = h("div", { class: "lw-rd-controls" }, ...parts);
  }

  setFacts(facts: Facts): void {
    this.facts = facts;
    for (const slider of [this.position, this.distance]) slider.most = facts.max_distance;
    const names = facts.ropes.map((rope) => rope.scaling);
    this.scalings.replaceChildren("scaling ", ...names.map((name) => this.scalingButton(name)));
    this.scalings.style.display = names.length > 1 ? "" : "none";
    const options = (values: number[]): HTMLElement[] => values.map((value) => h("option", { value }, String(value)));
    this.layer.replaceChildren(...options(facts.layers));
    this.head.replaceChildren(...options(facts.heads));
    this.heads.style.display = facts.tokens.length ? "" : "none";
  }

  show(view: View, layer: number, head: number, playing: boolean): void {
    this.position.show(view.position);
    this.distance.show(view.distance);
    this.layer.value = String(layer);
    this.head.value = String(head);
    this.playing.textContent = playing ? "■ stop" : "▶ shift both";
    this.playing.setAttribute("aria-pressed", String(playing));
    for (const button of this.scalings.querySelectorAll("button")) {
      const chosen = button.dataset["name"] === view.scaling;
      button.setAttribute("aria-checked", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
  }

  private scalingButton(name: string): HTMLElement {
    const factor = this.facts?.ropes.find((rope) => rope.scaling === name)?.factor;
    const button = h("button", { type: "button", role: "radio", "data-name": name }, name);
    if (factor) button.title = `stretched by ${factor}`;
    button.onclick = () => this.actions.scale(name);
    button.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const all = [...this.scalings.querySelectorAll("button")];
      const next = all[(all.indexOf(button) + step + all.length) % all.length];
      next?.focus();
      next?.click();
    };
    return button;
  }
}

/** A range whose arrow keys move by one position, whatever its scale. */
class Slider {
  most = 1;
  readonly root: HTMLElement;
  private readonly input = h("input", { type: "range", min: 0, max: STEPS, step: 1 });
  private readonly output = h("output");
  private value = 0;

  constructor(
    name: string,
    private readonly fromShare: (share: number, most: number) => number,
    private readonly toShare: (value: number, most: number) => number,
    private readonly moved: (value: number) => void,
    signal: AbortSignal,
  ) {
    this.input.setAttribute("aria-label", name);
    this.root = h("label", { class: "lw-rd-slider" }, name, this.input, this.output);
    const drag = (): void => this.go(Math.round(this.fromShare(Number(this.input.value) / STEPS, this.most)));
    this.input.addEventListener("input", drag, { signal });
    this.input.addEventListener("keydown", (event) => this.key(event), { signal });
  }

  show(value: number): void {
    this.value = value;
    this.input.value = String(Math.round(STEPS * this.toShare(value, this.most)));
    this.input.setAttribute("aria-valuetext", String(value));
    this.output.textContent = value.toLocaleString("en");
  }

  private key(event: KeyboardEvent): void {
    const far = event.shiftKey ? 10 : 1;
    const steps: Record<string, number> = { ArrowRight: far, ArrowUp: far, ArrowLeft: -far, ArrowDown: -far, PageUp: 100, PageDown: -100 };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
    this.go(this.value + step);
  }

  private go(value: number): void {
    this.moved(Math.max(0, Math.min(this.most, value)));
  }
}
