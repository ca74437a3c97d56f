// Wiring of KVCacheGrid: reads traits, lets the parts in kv_cache_grid/ draw them, writes step and selection back.

import type { AnyModel, RenderProps } from "@anywidget/types";
import { GrowthView } from "./kv_cache_grid/growth_view";
import css from "./kv_cache_grid/kv_cache_grid.css";
import { PoolView } from "./kv_cache_grid/pool_view";
import type { View } from "./kv_cache_grid/view";
import type { Wire } from "./kv_cache_grid/wire";
import { h } from "./lib/dom";
import { frame } from "./lib/frame";
import { Player } from "./lib/player";
import { oncePerFrame, watchWidth } from "./lib/schedule";
import { readTheme, watchTheme } from "./lib/theme";

const POOL_HELP: [string, string][] = [
  ["Cell", "A physical block of the KV cache, in the colour of the request that holds it, as full as it is with tokens."],
  ["Shared", "Several requests begin with the same tokens and hold the same block; × is its reference count."],
  ["Hatched", "Free, but its tokens can still be found: a request that begins with them takes it back without computing."],
  ["Ring", "Since the step before: taken (solid), found in the cache (dotted), evicted (dashed), copied (double)."],
  ["∅", "Block 0 is vLLM's null block: a placeholder, not counted."],
  ["Line", "From the block under the cursor back over those whose tokens come before: its hash depends on theirs."],
  ["Block tables", "Each request's blocks in the order of its tokens: any free block will do, they need not lie in a row."],
  ["Bar", "What the token slots hold. Internal waste: empty slots of a block that is given to a request."],
  ["Keys", "Arrows move over the blocks, Enter selects a block or, in the tables, a request; Escape clears; [ and ] change the step."],
];

const GROWTH_HELP: [string, string][] = [
  ["Column", "A token of the prompt or, right of the line, a new one."],
  ["Row", "A layer of the model, with keys above and values below."],
  ["Bars", "Bytes that the layer's keys and values take after the step; all layers together are the cache."],
  ["Ring", "Computed in this step. Dashed: just chosen, so the next step computes it."],
  ["Heads", "Query heads under one bracket read the same KV head, whose keys and values are kept once."],
  ["Work", "Tokens through the model so far, and how many it would have been the other way."],
  ["Keys", "Arrows move over layers and tokens (Shift: 10), Escape clears, [ and ] change the step."],
];

function render({ model: given, el, signal: outer }: RenderProps): () => void {
  const model = given as AnyModel;
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  let shown = new AbortController(); // ends when a record of another kind is to be drawn
  let kind = "";

  const start = (): void => {
    const wire = model.get("_drawn") as Wire;
    if (!wire.kind || wire.kind === kind) return;
    shown.abort();
    shown = new AbortController();
    kind = wire.kind;
    show(model, el, kind === "generation", AbortSignal.any([signal, shown.signal]));
  };
  model.on("change:_drawn", start);
  signal.addEventListener("abort", () => model.off("change:_drawn", start));
  start();
  return () => own.abort();
}

function show(model: AnyModel, el: HTMLElement, grows: boolean, signal: AbortSignal): void {
  const help = grows ? GROWTH_HELP : POOL_HELP;
  const around = frame(model, el, { title: "KV cache", help, drawing: () => view.drawing(step()) }, signal);
  around.root.classList.add("lw-kv");
  const step = (): number => Math.max(0, Math.min(model.get("step") as number, view.count - 1));
  const go = (to: number): void => {
    model.set("step", to);
    model.save_changes();
  };
  const player = new Player(go, signal);
  const paint = oncePerFrame(() => {
    view.paint(step());
    player.show(step(), view.count);
    around.setTitle("KV cache", view.title());
    around.setSentence(view.sentence());
  }, signal);
  const make = grows ? GrowthView : PoolView;
  const view: View = new make(model, (by) => player.move(by), paint, signal);
  around.root.append(h("style", {}, css));
  around.figure.append(player.element, view.element);

  const read = (): void => {
    if (signal.aborted) return; // the very change that ended this picture is still being told
    const wire = model.get("_drawn") as Wire;
    player.element.hidden = wire.kind === "given"; // there is one moment only
    view.read(wire);
    around.legend.replaceChildren(...view.legend()); // its units are those of the record
  };
  const settle = (): void => {
    view.setTheme(readTheme(around.root));
    around.legend.replaceChildren(...view.legend());
  };
  const listen = (names: string, listener: () => void): void => {
    for (const name of names.split(" ")) {
      model.on(`change:${name}`, listener);
      signal.addEventListener("abort", () => model.off(`change:${name}`, listener));
    }
  };
  listen("_drawn", read);
  listen("step", paint);
  listen("selected_request selected_block token_texts", () => view.repaint());
  watchTheme(settle, signal);
  watchWidth(around.figure, (width) => {
    view.setWidth(width);
    settle(); // outside the page, where JupyterLab renders first, no colour is known yet
  }, signal);
  read();
  settle();
}

export default { render };

// For whoever wants to fold a packed run without drawing it.
export { poolOf } from "./kv_cache_grid/pool";
