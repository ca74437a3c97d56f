// Wiring of AttentionHeatmap: reads traits, calls the pure parts in attention/, writes the selection back.

import type { AnyModel, RenderProps } from "@anywidget/types";
import { drawing } from "./attention/export";
import css from "./attention/heatmap.css";
import { headAt } from "./attention/thumbnails";
import { bindMap } from "./attention/gestures";
import { Scene } from "./attention/scene";
import { TextStrip } from "./attention/strip";
import { h } from "./lib/dom";
import { frame } from "./lib/frame";
import { oncePerFrame, watchWidth } from "./lib/schedule";
import { readTheme, watchTheme } from "./lib/theme";

const HELP: [string, string][] = [
  ["Row", "A query token: the one that looks."],
  ["Column", "A key token: the one that is looked at."],
  ["Colour", "The attention weight, a share of 1; each row adds up to 1 (less with a learned sink)."],
  ["Hatched", "Masked: tokens that come later, or lie outside a sliding window."],
  ["Text strip", "The same text; the shading is the weight that the chosen row, or the sum of all pinned rows, gives."],
  ["Underlined", "After an edit: positions whose output moved."],
  ["Small maps", "Every head, strongest weight of each block; heads under one bracket read the same KV head."],
  ["First token", "If it takes a large share of every row, it is an attention sink."],
  ["Keys", "Arrows move (Shift: 10), Enter pins a row, Escape clears, [ and ] change the head, { and } the layer, + − 0 zoom."],
];

function render({ model, el, signal: given }: RenderProps): () => void {
  const own = new AbortController();
  const signal = given ? AbortSignal.any([given, own.signal]) : own.signal;
  const scene = new Scene(model as AnyModel);
  const parts = { title: "Attention", help: HELP, drawing: () => drawing(scene) };
  const around = frame(model as AnyModel, el, parts, signal);
  around.root.append(h("style", {}, css));
  const map = h("div", { class: "lw-map", tabindex: 0, role: "application", "aria-label": "Attention map; arrow keys move" });
  const heads = h("canvas", { tabindex: 0, role: "application", "aria-label": "All heads; arrow keys choose" });
  const panel = h("div", { class: "lw-heads" }, h("p", {}, "all heads: row = layer, column = head"), heads);
  const plot = h("div", { class: "lw-plot" }, map, panel);
  const cells = h("canvas");
  const cursor = h("canvas");
  map.append(cells, cursor);
  scene.attach({ frame: around, strip: stripFor(scene, signal), map, plot, panel, heads, cells, cursor });

  const paint = oncePerFrame(() => scene.paint(), signal);
  scene.changed = paint;
  bindMap(scene, map, signal);
  const toHead = (event: PointerEvent | MouseEvent): void => {
    const found = scene.layout && headAt(scene.layout, scene.facts, event.offsetX, event.offsetY);
    if (found) scene.choose(found.layer, found.head);
  };
  heads.addEventListener("click", toHead, { signal });
  heads.addEventListener("keydown", (event) => scene.headKey(event), { signal });

  const listen = (events: string, listener: () => void): void => {
    for (const event of events.split(" ")) {
      model.on(`change:${event}`, listener);
      signal.addEventListener("abort", () => model.off(`change:${event}`, listener));
    }
  };
  listen("_facts", () => scene.readFacts());
  listen("_map", () => scene.readMap());
  listen("layer head", () => scene.followHead());
  listen("_thumbnails", () => scene.readThumbnails());
  listen("scale overlay", () => scene.restyle());
  listen("selected_token pinned_tokens", () => paint());
  const settle = (): void => scene.setTheme(readTheme(around.root));
  watchTheme(settle, signal);
  const resize = (width: number): void => {
    settle(); // outside the page, where JupyterLab renders first, no colour is known yet
    scene.setWidth(width);
  };
  watchWidth(around.figure, resize, signal);
  settle();
  scene.readFacts();
  scene.readMap();
  scene.readThumbnails();
  return () => own.abort();
}

function stripFor(scene: Scene, signal: AbortSignal): TextStrip {
  return new TextStrip(
    (position) => scene.togglePinAt(position),
    (position) => scene.hoverToken(position),
    signal,
  );
}

export default { render };
