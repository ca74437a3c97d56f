// The shape of each state, told apart without colour: the same in rows and legend.

import { STATE } from "./timeline";

export interface Ink {
  colour: string; // the request's
  error: string;
  foreground: string;
  background: string;
}

type Context = CanvasRenderingContext2D;

/** From this width on, in pixels, the cells of a stretch stand apart. */
export const APART = 7;
const LEAST = 2.5; // a step among thousands still shows what it did

/** A stretch of cells of one state; `cell` is the width of one of them. */
export interface Stretch {
  x: number;
  y: number;
  width: number;
  height: number;
  cell: number;
}

/** Paint a stretch of cells. Cells wide enough stand apart, so that steps can be counted. */
export function paintState(context: Context, state: number, at: Stretch, ink: Ink): void {
  context.fillStyle = context.strokeStyle = state === STATE.preempted ? ink.error : ink.colour;
  if (at.height < 5) paintDense(context, state, at);
  else if (state === STATE.queued) line(context, at, 0.75, []);
  else if (state === STATE.preempted) line(context, at, 0.9, [3, 2.5]);
  else if (state === STATE.prefill) bars(context, at, 1, [[0, 1]]);
  else if (state === STATE.decode) bars(context, at, 0.62, [[0.3, 0.4]]);
  else if (state === STATE.speculated) bars(context, at, 0.85, [[0, 0.08], [0.24, 0.52], [0.92, 0.08]]);
  else if (state === STATE.idle) outlines(context, at, []);
  else if (state === STATE.padding) outlines(context, at, [1.5, 2.5]);
  context.globalAlpha = 1;
}

/** The dotted frame of a cell that also computes padding, or whose prompt a rectangular batch would pad. */
export function paintPadded(context: Context, at: Stretch, ink: Ink): void {
  context.strokeStyle = ink.foreground;
  outlines(context, at, [1.5, 2.5]);
  context.globalAlpha = 1;
}

/** The cross where a request lost its blocks. */
export function paintPreemption(context: Context, x: number, middle: number, size: number, ink: Ink): void {
  for (const [colour, width] of [[ink.background, 4.5], [ink.error, 2]] as const) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x - size, middle - size);
    context.lineTo(x + size, middle + size);
    context.moveTo(x - size, middle + size);
    context.lineTo(x + size, middle - size);
    context.stroke();
  }
}

/** The corner that marks tokens found in the prefix cache. */
export function paintHit(context: Context, x: number, top: number, size: number, ink: Ink): void {
  context.fillStyle = ink.foreground;
  context.strokeStyle = ink.background;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x + size, top);
  context.lineTo(x, top + size);
  context.closePath();
  context.fill();
  context.stroke();
}

/** The tick at the first new token. */
export function paintFirstToken(context: Context, x: number, top: number, height: number, ink: Ink): void {
  context.fillStyle = ink.background;
  context.fillRect(x, top, 2.5, height);
  context.fillStyle = ink.foreground;
  context.fillRect(x, top, 1.5, height);
}

/** The cap at the end of a request; a ring if it was aborted. */
export function paintEnd(context: Context, x: number, top: number, height: number, aborted: boolean, ink: Ink): void {
  if (aborted) {
    context.fillStyle = ink.background;
    context.strokeStyle = ink.error;
    context.lineWidth = 1.75;
    context.beginPath();
    context.arc(x, top + height / 2, Math.min(4.5, height / 2 - 1), 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  } else {
    context.fillStyle = ink.colour;
    context.fillRect(x - 2.5, top, 3.5, height);
  }
}

/** Rows too low for shapes: how busy a state is, as how opaque. */
function paintDense(context: Context, state: number, { x, y, width, height }: Stretch): void {
  const opacity = [0, 0.16, 1, 0.55, 0.8, 0.75, 0, 0.25, 0.25][state] ?? 0;
  if (!opacity) return;
  context.globalAlpha = opacity;
  context.fillRect(x, y, width, state === STATE.preempted ? Math.max(1, height) : height);
}

function line(context: Context, { x, y, width, height }: Stretch, opacity: number, dash: number[]): void {
  context.globalAlpha = opacity;
  context.lineWidth = Math.max(1, Math.min(2, height / 9));
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(x, y + height / 2);
  context.lineTo(x + width, y + height / 2);
  context.stroke();
  context.setLineDash([]);
}

/** Filled bars; each part is its top and height as shares of the row. */
function bars(context: Context, at: Stretch, opacity: number, parts: [number, number][]): void {
  const { top, room } = inner(at);
  context.globalAlpha = opacity;
  for (const [start, share] of parts) {
    for (const [x, width] of cells(at)) context.fillRect(x, top + start * room, width, Math.max(1, share * room));
  }
}

function outlines(context: Context, at: Stretch, dash: number[]): void {
  const { top, room } = inner(at);
  context.globalAlpha = 0.9;
  context.lineWidth = 1;
  context.setLineDash(dash);
  for (const [x, width] of cells(at)) {
    context.strokeRect(x + 0.5, top + 1.5, Math.max(0.5, width - 1), Math.max(1, room - 3));
  }
  context.setLineDash([]);
}

function inner({ y, height }: Stretch): { top: number; room: number } {
  const gap = height >= 12 ? 1.5 : 0.75;
  return { top: y + gap, room: height - 2 * gap };
}

function cells({ x, width, cell }: Stretch): [number, number][] {
  if (cell < APART) return [[x, Math.max(width, LEAST)]];
  const count = Math.max(1, Math.ceil(width / cell - 0.01)); // the last one may be cut at the edge of the window
  return Array.from({ length: count }, (_, i) => [x + i * cell + 0.5, Math.min(cell, width - i * cell) - 1]);
}
