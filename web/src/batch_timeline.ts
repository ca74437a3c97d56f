// Wiring of BatchTimeline: reads traits, calls the pure parts in batch_timeline/, writes the selection back.

import type { AnyModel, RenderProps } from "@anywidget/types";
import css from "./batch_timeline/batch_timeline.css";
import { timelineDrawing } from "./batch_timeline/drawing";
import { bindPlot, zoomHere } from "./batch_timeline/gestures";
import { legend } from "./batch_timeline/legend";
import { Scene } from "./batch_timeline/scene";
import { ScrollBars } from "./batch_timeline/scroll_bars";
import { home, panned, whole } from "./batch_timeline/window";
import { h } from "./lib/dom";
import type { Drawing } from "./lib/download";
import { frame } from "./lib/frame";
import { oncePerFrame, watchWidth } from "./lib/schedule";
import { readTheme, watchTheme } from "./lib/theme";

const HELP: [string, string][] = [
  ["Row", "A request, in its colour; a child of one where n is above 1. Blank: not arrived yet, or ended."],
  ["Column", "An engine step, counted from 0."],
  ["Thin line", "Queued: the request has arrived and waits."],
  ["Full bar", "Prefill: tokens of the prompt, or tokens that a preemption lost; the number says how many in this step."],
  ["Thin bar", "Decode: one token, computed and continued by the next."],
  ["Two bars", "Speculated: several guessed tokens are checked at once."],
  ["Cross", "Preempted: the request loses its blocks; on the dashed line it waits to be computed again."],
  ["Outline", "Idle: a slot of the batch is held and computes nothing. Dotted: padding."],
  ["Corner", "A prefix hit: cached tokens that need no computing."],
  ["Tick", "The first new token: the time to first token (TTFT) ends here."],
  ["Cap, ring", "The request has finished; a ring: it was aborted."],
  ["Under a row", "Of the request under the cursor: a bracket over its TTFT, a dot for each later token, red over gaps between tokens (ITL) at least twice the usual."],
  ["tokens", "Computed in each step: dark prefill, light decode, dotted padding; dashed: max_num_batched_tokens."],
  ["sequences", "That compute in each step, outlined: idle slots; dashed: max_num_seqs."],
  ["≠", "The first step in which two runs differ."],
  ["Pointer", "Click marks a step and a request; drag moves, Ctrl + wheel zooms, a double click resets; drag along the step numbers or the strips to scrub."],
  ["Keys", "Arrows move (Shift: 10), Home and End, Enter marks, Escape clears, + − zoom, 0 resets."],
];

function render({ model: given, el, signal: outer }: RenderProps): () => void {
  const model = given as AnyModel;
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  const around = frame(model, el, { title: "Batch timeline", help: HELP, drawing: () => drawing(scene) }, signal);
  const [cells, marks] = [h("canvas"), h("canvas")];
  const pan = (rows: number, columns: number): void => {
    const { limits, window } = scene;
    scene.setWindow(panned(window, rows * limits.rows, columns * limits.columns, limits));
  };
  const bars = new ScrollBars(pan, signal);
  const label = "Requests by steps; arrow keys move, Enter marks";
  const plot = h("div", { class: "lw-bt-plot", tabindex: 0, role: "application", "aria-label": label }, cells, marks);
  const all = tool("all", "Every request and every step", () => scene.setWindow(whole(scene.limits)));
  const scene = new Scene(model, { frame: around, all, cells, marks, bars });
  around.root.classList.add("lw-bt");
  around.root.append(h("style", {}, css));
  around.figure.append(plot, bars.down, bars.across);
  const tools = [
    tool("−", "Zoom out", () => zoomHere(scene, 1 / 1.5)),
    tool("+", "Zoom in", () => zoomHere(scene, 1.5)),
    all,
    tool("reset", "Reset the zoom", () => scene.setWindow(home(scene.limits))),
  ];
  around.root.querySelector(".lw-badge")?.after(h("span", { class: "lw-tools" }, ...tools));
  scene.changed = oncePerFrame(() => scene.paint(), signal);
  bindPlot(scene, plot, signal);

  const listen = (events: string, listener: () => void): void => {
    for (const event of events.split(" ")) {
      model.on(`change:${event}`, listener);
      signal.addEventListener("abort", () => model.off(`change:${event}`, listener));
    }
  };
  const showLegend = (): void => {
    around.legend.replaceChildren(...legend(readTheme(around.root), scene.runs.length > 1));
  };
  const settle = (): void => {
    scene.setTheme(readTheme(around.root));
    showLegend();
  };
  const read = (): void => {
    const runs = scene.runs.length;
    scene.read();
    if (scene.runs.length !== runs) showLegend();
  };
  listen("_timeline", read);
  listen("step", () => scene.showMarked("step"));
  listen("selected_request", () => scene.showMarked("selected_request"));
  listen("title against_title badge against_badge", () => scene.relayout());
  watchTheme(settle, signal);
  const resize = (width: number): void => {
    settle(); // outside the page, where JupyterLab renders first, no colour is known yet
    scene.setWidth(width);
  };
  watchWidth(around.figure, resize, signal);
  settle();
  read();
  return () => own.abort();
}

function tool(sign: string, name: string, act: () => void): HTMLButtonElement {
  const button = h("button", { type: "button", title: name, "aria-label": name }, sign);
  button.onclick = act;
  return button;
}

function drawing(scene: Scene): Drawing {
  const picture = scene.picture();
  if (!picture) throw new Error("nothing is painted yet");
  const notes = [
    "row: request, column: engine step; full bar: prefill (tokens), thin bar: decode, thin line: queued, cross: preempted,",
    "corner: prefix hit, tick: first token, cap: end, outline: idle slot, dotted: padding; dashed: token budget and slots",
    ...(picture.difference ? [`first difference (red): ${picture.difference.text}`] : []),
  ];
  return timelineDrawing(picture, scene.step, `Batch timeline, step ${scene.step}`, notes);
}

export default { render };
