// A column a step: how unsure the model was, and how unsure the choice.

import { sizeCanvas } from "../lib/dom";
import type { Theme } from "../lib/theme";
import type { Step, StepsWire } from "./steps";

const HEIGHT = 56;
const LABEL = 17; // room for the line above the columns

/** Paint the columns on `canvas`; the shown step stands out. */
export function paintEntropy(canvas: HTMLCanvasElement, wire: StepsWire, step: Step, width: number, theme: Theme): void {
  const context = sizeCanvas(canvas, width, HEIGHT);
  const now = step.index;
  const entropies = wire.entropies.map((bits, i) => (i === now ? step.entropies : bits));
  const model = entropies.map((bits) => bits[0] ?? 0);
  const drawn = entropies.map((bits) => bits.at(-1) ?? 0);
  const most = Math.max(1, ...model, ...drawn);
  const column = width / model.length;
  const wide = Math.max(1, Math.min(40, column - (column > 4 ? 2 : 0)));
  const top = (bits: number): number => HEIGHT - 1 - ((HEIGHT - LABEL - 2) * bits) / most;
  model.forEach((bits, i) => {
    const left = i * column + 0.5;
    context.fillStyle = i === now ? theme.accent : theme.muted;
    context.globalAlpha = i === now ? 1 : 0.5;
    context.fillRect(left, top(drawn[i] ?? 0), wide, HEIGHT - top(drawn[i] ?? 0));
    context.strokeStyle = i === now ? theme.accent : theme.muted;
    context.globalAlpha = i === now ? 1 : 0.8;
    if (wide > 3) context.strokeRect(left + 0.5, top(bits), wide - 1, HEIGHT - top(bits));
    else context.fillRect(left, top(bits), wide, 1);
  });
  context.globalAlpha = 1;
  context.fillStyle = theme.muted;
  context.font = `11px ${theme.font}`;
  const which = width > 480 ? "outline: the model's; filled: of what was drawn from; " : "";
  context.fillText(`entropy, bits (${which}highest ${most.toFixed(2)})`, 1, 11);
}

/** The step whose column is at `x`, in CSS pixels. */
export function stepAt(x: number, width: number, count: number): number {
  return Math.max(0, Math.min(count - 1, Math.floor((x / width) * count)));
}
