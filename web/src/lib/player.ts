// A scrubber over the steps of a record, with a button that plays them.

import { h } from "./dom";
import css from "./player.css";

const FASTEST = 30; // steps a second that are shown one by one
const SLOWEST = 3;
const SECONDS = 15; // that a long run plays; a very long one leaves steps out

export class Player {
  readonly element: HTMLElement;
  private readonly button: HTMLButtonElement;
  private readonly range: HTMLInputElement;
  private readonly label = h("span", { class: "lw-player-label" });
  private step = 0;
  private last = 0;
  private frame = 0; // of the next beat; 0 while nothing plays
  private due = 0; // milliseconds, when the next step comes

  /** `go` is called with each step that the user scrubs to or that playing comes to. */
  constructor(
    private readonly go: (step: number) => void,
    signal: AbortSignal,
  ) {
    this.button = h("button", { type: "button", class: "lw-player-button" });
    this.range = h("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "Step" });
    this.element = h("div", { class: "lw-player" }, h("style", {}, css), this.button, this.range, this.label);
    this.button.addEventListener("click", () => (this.frame ? this.stop() : this.play()), { signal });
    this.range.addEventListener("input", () => this.scrub(this.range.valueAsNumber), { signal });
    // JupyterLab has shortcuts of its own on arrows and brackets.
    this.element.addEventListener("keydown", (event) => this.key(event), { signal });
    signal.addEventListener("abort", () => this.stop());
    this.stop();
  }

  /** Show where the record stands. */
  show(step: number, count: number): void {
    this.step = step;
    this.last = Math.max(0, count - 1);
    this.range.max = String(this.last);
    this.range.value = String(step);
    this.range.disabled = this.button.disabled = count < 2;
    const text = count ? `step ${step} of 0–${this.last}` : "no step yet";
    this.range.setAttribute("aria-valuetext", text);
    this.label.textContent = text;
    this.label.style.minWidth = `${9 + 2 * String(this.last).length}ch`;
  }

  /** Go `by` steps on or back. */
  move(by: number): void {
    this.scrub(this.step + by);
  }

  private scrub(to: number): void {
    this.stop();
    this.set(Math.max(0, Math.min(this.last, to)));
  }

  private set(step: number): void {
    this.step = step; // at once: the next key may come before the picture
    this.go(step);
  }

  private play(): void {
    if (this.step >= this.last) this.set(0); // from the end, playing begins anew
    const wanted = (this.last + 1) / SECONDS;
    const rate = Math.max(SLOWEST, Math.min(FASTEST, wanted));
    const stride = Math.max(1, Math.round(wanted / FASTEST));
    this.setButton("⏸", "Pause");
    this.due = performance.now() + 1000 / rate;
    const beat = (now: number): void => {
      this.frame = requestAnimationFrame(beat);
      if (now < this.due) return;
      this.due = Math.max(this.due + 1000 / rate, now); // time lost in a hidden tab is not caught up
      const next = Math.min(this.last, this.step + stride);
      if (next === this.last) this.stop();
      this.set(next);
    };
    this.frame = requestAnimationFrame(beat);
  }

  private stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.setButton("▶", "Play the steps");
  }

  private setButton(sign: string, meaning: string): void {
    this.button.textContent = sign;
    this.button.title = meaning;
    this.button.setAttribute("aria-label", meaning);
  }

  private key(event: KeyboardEvent): void {
    event.stopPropagation();
    const by = { "[": -1, "]": 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.move(by);
  }
}
