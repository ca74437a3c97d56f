// Each encoding with its meaning and unit, drawn with the very shapes of the figure.

import { h, sizeCanvas } from "../lib/dom";
import type { Theme } from "../lib/theme";
import { inkOf } from "./rows";
import { type Ink, paintEnd, paintFirstToken, paintHit, paintPreemption, paintState, type Stretch } from "./shapes";
import { STATE } from "./timeline";

type Paint = (context: CanvasRenderingContext2D, at: Stretch, ink: Ink, theme: Theme) => void;

const WIDTH = 28;
const HEIGHT = 14;

const state = (code: number): Paint => (context, at, ink) => paintState(context, code, at, ink);

const ENTRIES: [string, Paint][] = [
  ["queued", state(STATE.queued)],
  ["prefill, tokens in the step", prefill],
  ["decode, 1 token", state(STATE.decode)],
  ["speculated, several tokens", state(STATE.speculated)],
  ["preempted, waits again", preempted],
  ["idle slot", state(STATE.idle)],
  ["padding", state(STATE.padding)],
  ["prefix hit", hit],
  ["first token (TTFT)", firstToken],
  ["end", (context, at, ink) => end(context, at, ink, false)],
  ["aborted", (context, at, ink) => end(context, at, ink, true)],
  ["limit: token budget, slots", (context, at, _, theme) => dashed(context, theme.accent, [0, at.height / 2, at.width, at.height / 2])],
];

/** The entries, in the colours of the theme; `differs` adds the mark of the first difference. */
export function legend(theme: Theme, differs: boolean): HTMLElement[] {
  const made = ENTRIES.map(([meaning, paint]) => entry(meaning, paint, theme));
  return differs ? [...made, entry("first difference", difference, theme)] : made;
}

function entry(meaning: string, paint: Paint, theme: Theme): HTMLElement {
  const canvas = h("canvas", { class: "lw-bt-sample", "aria-hidden": "true" });
  const context = sizeCanvas(canvas, WIDTH, HEIGHT);
  const at = { x: 0, y: 0, width: WIDTH, height: HEIGHT, cell: WIDTH / 2 };
  paint(context, at, inkOf(theme, 0), theme);
  return h("span", {}, canvas, meaning);
}

function prefill(context: CanvasRenderingContext2D, at: Stretch, ink: Ink): void {
  paintState(context, STATE.prefill, { ...at, cell: at.width }, ink);
  context.fillStyle = ink.background;
  context.font = "600 10px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText("32", at.width / 2, at.height / 2 + 0.5);
}

function preempted(context: CanvasRenderingContext2D, at: Stretch, ink: Ink): void {
  paintState(context, STATE.preempted, at, ink);
  paintPreemption(context, 7, at.height / 2, 3.5, ink);
}

function hit(context: CanvasRenderingContext2D, at: Stretch, ink: Ink): void {
  paintState(context, STATE.prefill, { ...at, cell: at.width }, ink);
  paintHit(context, 0.5, 1, 7, ink);
}

function firstToken(context: CanvasRenderingContext2D, at: Stretch, ink: Ink): void {
  paintState(context, STATE.prefill, { ...at, width: at.width / 2 }, ink);
  paintState(context, STATE.decode, { ...at, x: at.width / 2, width: at.width / 2 }, ink);
  paintFirstToken(context, at.width / 2, 0, at.height, ink);
}

function end(context: CanvasRenderingContext2D, at: Stretch, ink: Ink, aborted: boolean): void {
  paintState(context, STATE.decode, { ...at, width: at.width - 5, cell: (at.width - 5) / 2 }, ink);
  paintEnd(context, at.width - 5, 0.5, at.height - 1, aborted, ink);
}

function difference(context: CanvasRenderingContext2D, at: Stretch, ink: Ink): void {
  dashed(context, ink.error, [at.width / 2, 0, at.width / 2, at.height]);
}

function dashed(context: CanvasRenderingContext2D, colour: string, [x1, y1, x2, y2]: [number, number, number, number]): void {
  context.strokeStyle = colour;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}
