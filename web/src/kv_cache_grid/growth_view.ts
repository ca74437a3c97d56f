// One request's growing cache on the page: layers × tokens, its text, its heads, and the work it saves.

import type { AnyModel } from "@anywidget/types";
import { h, sizeCanvas } from "../lib/dom";
import type { Drawing } from "../lib/download";
import { swatch } from "../lib/swatch";
import type { Theme } from "../lib/theme";
import { running } from "../lib/tokens";
import { growthLayout, headGroups, layersOf, workAt } from "./growth";
import { growthDrawing, paintGrowth, paintGrowthCursor } from "./growth_paint";
import { cellSentence, growthSentence, headsSentence } from "./growth_sentence";
import { type GrowthCell, growthCellAt, type GrowthPicture, keyColour, valueColour } from "./growth_shapes";
import type { View } from "./view";
import type { GenerationWire, Wire } from "./wire";
import { counted, sizeOf, whole } from "./words";

export class GrowthView implements View {
  readonly element: HTMLElement;
  private readonly text = h("div", { class: "lw-kv-said" });
  private readonly cells = h("canvas");
  private readonly cursor = h("canvas");
  private readonly map: HTMLElement;
  private readonly heads = h("div", { class: "lw-kv-heads" });
  private readonly work = h("div", { class: "lw-kv-work" });
  private wire: GenerationWire | null = null;
  private picture: GrowthPicture | null = null;
  private theme: Theme | null = null;
  private width = 0;
  private step = 0;
  private cell: GrowthCell | null = null;
  private readTo = -1; // the token that the text was scrolled to
  private shownHeads = -1; // the layer whose heads are on the page

  constructor(
    _model: AnyModel,
    private readonly moveStep: (by: number) => void,
    private readonly changed: () => void,
    signal: AbortSignal,
  ) {
    this.map = h("div", { class: "lw-kv-map", tabindex: 0, role: "application", "aria-label": "Layers and tokens; arrow keys move" }, this.cells, this.cursor);
    this.element = h("div", {}, this.text, this.map, this.heads, this.work);
    const point = (cell: GrowthCell | null): void => {
      this.cell = cell;
      changed();
    };
    const at = (event: MouseEvent): GrowthCell | null => this.picture && growthCellAt(this.picture, event.offsetX, event.offsetY);
    this.map.addEventListener("pointermove", (event) => point(at(event)), { signal });
    this.map.addEventListener("pointerleave", () => point(null), { signal });
    this.map.addEventListener("keydown", (event) => this.key(event, point), { signal });
    this.text.addEventListener("pointerover", (event) => {
      const token = (event.target as HTMLElement).dataset["token"];
      if (token !== undefined) point({ layer: this.cell?.layer ?? 0, token: Number(token) });
    }, { signal });
    this.text.addEventListener("pointerleave", () => point(null), { signal });
  }

  get count(): number {
    return this.wire?.kv_tokens.length ?? 0;
  }

  read(wire: Wire): void {
    this.wire = wire as GenerationWire;
    this.cell = null;
    this.shownHeads = this.readTo = -1;
    const prompt = this.wire.num_prompt_tokens;
    this.text.replaceChildren(...this.wire.tokens.map((token, i) => h(i < prompt ? "i" : "b", { "data-token": i }, running(token))));
    this.changed();
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.changed();
  }

  setWidth(width: number): void {
    this.width = width;
    this.changed();
  }

  repaint(): void {
    this.changed();
  }

  paint(step: number): void {
    const { wire, theme, width } = this;
    if (!wire || !theme || !width) return;
    this.step = step;
    const layout = growthLayout(width, layersOf(wire), wire.tokens.length);
    const picture = (this.picture = { wire, step, layout, theme });
    const height = layout.top + layout.height + 4;
    paintGrowth(sizeCanvas(this.cells, width, height), picture);
    paintGrowthCursor(sizeCanvas(this.cursor, width, height), picture, this.cell);
    this.showText(wire, step);
    this.showHeads(wire, this.cell?.layer ?? 0);
    this.showWork(wire, step);
  }

  title(): string {
    if (!this.wire) return "";
    const bytes = this.wire.use_cache ? sizeOf(this.wire.kv_bytes[this.step] ?? 0) : "nothing kept";
    return `${counted(layersOf(this.wire), "layer")} · ${bytes}`; // short: it changes, and must not wrap
  }

  sentence(): string {
    if (!this.wire || !this.count) return "Nothing was generated.";
    return this.cell ? cellSentence(this.wire, this.step, this.cell) : growthSentence(this.wire, this.step);
  }

  legend(): HTMLElement[] {
    if (!this.theme) return [];
    return [
      h("span", {}, "row = layer, column = token, bars = bytes"),
      swatch(`background: ${keyColour(this.theme)}`, "keys"),
      swatch(`background: ${valueColour(this.theme)}`, "values"),
      swatch("border: 2px solid var(--lw-fg)", "computed in this step"),
      swatch("border: 1px dashed var(--lw-muted)", "just chosen"),
      swatch("border-left: 2px solid var(--lw-fg)", "new tokens begin"),
    ];
  }

  drawing(step: number): Drawing {
    this.paint(step);
    if (!this.picture) throw new Error("nothing is painted yet");
    return growthDrawing(this.picture);
  }

  /** Mark what is in the cache, what was just chosen and what comes later. */
  private showText(wire: GenerationWire, step: number): void {
    const held = wire.kv_tokens[step] ?? 0;
    const chosen = wire.num_prompt_tokens + step;
    [...this.text.children].forEach((token, i) => {
      token.className = i < held ? "lw-kv-kept" : i === chosen ? "lw-kv-chosen" : i > chosen ? "lw-kv-later" : "";
      if (i === this.cell?.token) token.classList.add("lw-kv-now");
    });
    if (this.readTo === chosen) return; // the reader may have scrolled since
    this.readTo = chosen;
    const now = this.text.children[chosen] as HTMLElement | undefined;
    if (now) this.text.scrollTop = now.offsetTop - this.text.offsetTop - 0.6 * this.text.clientHeight;
  }

  /** Query heads under a bracket with the KV head that they read. */
  private showHeads(wire: GenerationWire, layer: number): void {
    if (this.shownHeads === layer) return;
    this.shownHeads = layer;
    const groups = headGroups(wire, layer).map((heads, kv) =>
      h("span", { class: "lw-kv-group" }, h("span", {}, ...heads.map((head) => h("i", {}, `q${head}`))), h("b", {}, `KV ${kv}`)),
    );
    this.heads.replaceChildren(h("p", {}, headsSentence(wire, layer)), h("div", {}, ...groups));
  }

  private showWork(wire: GenerationWire, step: number): void {
    const now = workAt(wire, step);
    const most = Math.max(1, workAt(wire, this.count - 1).fresh);
    const bar = (count: number, name: string, measured: boolean): HTMLElement[] => [
      h("span", {}, name),
      h("span", { class: "lw-kv-track" }, h("i", { class: measured ? "" : "lw-kv-other", style: `width: ${(100 * count) / most}%` })),
      h("span", {}, whole(count)),
    ];
    this.work.replaceChildren(
      h("p", {}, "tokens through the model so far; hatched: not run, but follows from the lengths"),
      ...bar(wire.use_cache ? now.done : now.cached, "with a cache", wire.use_cache),
      ...bar(wire.use_cache ? now.fresh : now.done, "without", !wire.use_cache),
    );
  }

  private key(event: KeyboardEvent, point: (cell: GrowthCell | null) => void): void {
    const { wire, cell } = this;
    if (!wire || event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 10 : 1;
    const move = (layers: number, tokens: number): void => {
      const from = cell ?? { layer: 0, token: Math.max(0, (wire.kv_tokens[this.step] ?? 1) - 1) };
      const start = cell ? 1 : 0; // the first arrow only shows where the cursor is
      const clamp = (value: number, count: number): number => Math.max(0, Math.min(count - 1, value));
      point({ layer: clamp(from.layer + start * layers, layersOf(wire)), token: clamp(from.token + start * tokens, wire.tokens.length) });
    };
    const actions: Record<string, () => void> = {
      ArrowUp: () => move(-far, 0),
      ArrowDown: () => move(far, 0),
      ArrowLeft: () => move(0, -far),
      ArrowRight: () => move(0, far),
      Escape: () => point(null),
      "[": () => this.moveStep(-1),
      "]": () => this.moveStep(1),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
    action();
  }
}
