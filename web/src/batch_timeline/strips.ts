// Paints what each step adds up to: its tokens against the budget, its sequences against the slots.

import type { Theme } from "../lib/theme";
import { type Box, columnX, type Panel } from "./layout";
import { APART } from "./shapes";
import type { Run, Totals } from "./timeline";
import type { Window } from "./window";

/** A bar's part: its share of the text's colour in percent, and the dashes of its upper edge if it has one. */
interface Part {
  name: keyof Totals;
  dark: number;
  edge?: number[];
}

const TOKENS: Part[] = [
  { name: "prefill", dark: 85 },
  { name: "decode", dark: 40 },
  { name: "padding", dark: 12, edge: [1.5, 2.5] },
];
const SLOTS: Part[] = [
  { name: "running", dark: 60 },
  { name: "idle", dark: 12, edge: [] },
];

/** The number that the full height of a strip stands for. */
export function tokenScale(run: Run): number {
  return Math.max(run.mostTokens, run.wire.max_num_batched_tokens ?? 0);
}

export function slotScale(run: Run): number {
  return Math.max(run.mostSlots, run.wire.max_num_seqs ?? 0);
}

/** Where the line of a limit lies in a strip. */
export function limitY(box: Box, limit: number, scale: number): number {
  return box.y + box.height * (1 - limit / scale);
}

export function paintStrips(context: CanvasRenderingContext2D, run: Run, window: Window, panel: Panel, theme: Theme): void {
  paintBars(context, run, window, panel.tokens, TOKENS, tokenScale(run), theme);
  paintBars(context, run, window, panel.slots, SLOTS, slotScale(run), theme);
}

function paintBars(
  context: CanvasRenderingContext2D,
  run: Run,
  window: Window,
  box: Box,
  parts: Part[],
  scale: number,
  theme: Theme,
): void {
  const cell = box.width / window.columns;
  const gap = cell >= APART ? 1 : 0;
  const ratio = context.getTransform().a;
  const snapped = (x: number): number => Math.round(x * ratio) / ratio; // else seams show between the bars
  const stop = Math.min(run.steps, Math.ceil(window.column + window.columns));
  context.save();
  context.beginPath();
  context.rect(box.x, box.y - 1, box.width, box.height + 1);
  context.clip();
  context.strokeStyle = theme.foreground;
  context.lineWidth = 1;
  const bottom = Array.from({ length: stop }, () => box.y + box.height);
  for (const { name, dark, edge } of parts) {
    // Opaque: steps narrower than a pixel lie over each other.
    context.fillStyle = `color-mix(in srgb, ${theme.foreground} ${dark}%, ${theme.background})`;
    context.setLineDash(edge ?? []);
    for (let step = Math.floor(window.column); step < stop; step++) {
      const high = (box.height * run.totals(step)[name]) / scale;
      if (!high) continue;
      const y = (bottom[step] ?? 0) - high;
      const x = snapped(columnX(box, window, step));
      const width = Math.max(1 / ratio, snapped(columnX(box, window, step + 1)) - x - gap);
      context.fillRect(x, y, width, high);
      if (edge) context.strokeRect(x, y + 0.5, width, 0);
      bottom[step] = y;
    }
  }
  context.restore();
}
