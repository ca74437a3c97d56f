// Paints the rows of one run: a stretch for each state, and the marks on top.

import { requestColour } from "../lib/request_colours";
import type { Theme } from "../lib/theme";
import { type Box, columnX, rowY } from "./layout";
import { APART, type Ink, paintEnd, paintFirstToken, paintHit, paintPadded, paintPreemption, paintState } from "./shapes";
import { type Run, STATE } from "./timeline";
import type { Window } from "./window";

/** The ink of the request at `place` of the workload. */
export function inkOf(theme: Theme, place: number): Ink {
  return {
    colour: requestColour(place, theme.dark),
    error: errorColour(theme),
    foreground: theme.foreground,
    background: theme.background,
  };
}

/** The colour of what went wrong. */
export function errorColour(theme: Theme): string {
  return theme.dark ? "#ff8a80" : "#b3261e";
}

/** Paint the rows in view: the cells of each, and its marks on top. */
export function paintRows(context: CanvasRenderingContext2D, run: Run, window: Window, box: Box, theme: Theme): void {
  const height = box.height / window.rows;
  const last = Math.min(run.rows.length, Math.ceil(window.row + window.rows));
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.width + 6, box.height); // 6: marks at the end of the last step
  context.clip();
  for (let row = Math.floor(window.row); row < last; row++) {
    const ink = inkOf(theme, run.rows[row]?.place ?? 0);
    const y = rowY(box, window, row);
    paintCells(context, run, row, window, box, { y, height }, ink);
    if (height >= 5) paintMarks(context, run, row, window, box, { y, height }, ink);
  }
  context.restore();
}

interface Band {
  y: number;
  height: number;
}

function paintCells(
  context: CanvasRenderingContext2D,
  run: Run,
  row: number,
  window: Window,
  box: Box,
  band: Band,
  ink: Ink,
): void {
  const cell = box.width / window.columns;
  const stop = Math.min(run.steps, Math.ceil(window.column + window.columns));
  let start = Math.floor(window.column);
  while (start < stop) {
    const state = run.state(row, start);
    let next = start + 1;
    while (next < stop && run.state(row, next) === state) next++;
    if (state !== STATE.notArrived && state !== STATE.finished) {
      const count = Math.min(next, window.column + window.columns) - start;
      paintState(context, state, { x: columnX(box, window, start), width: count * cell, cell, ...band }, ink);
    }
    start = next;
  }
}

function paintMarks(
  context: CanvasRenderingContext2D,
  run: Run,
  row: number,
  window: Window,
  box: Box,
  { y, height }: Band,
  ink: Ink,
): void {
  const facts = run.rows[row];
  if (!facts) return;
  const cell = box.width / window.columns;
  const x = (column: number): number => columnX(box, window, column);
  const [top, room] = [y + 1, height - 2];
  const padded = cell >= APART ? paddedSteps(run, row) : [];
  for (const step of padded) paintPadded(context, { x: x(step), y, width: cell, height, cell }, ink);
  for (const { step, cached_tokens } of facts.admissions) {
    if (cached_tokens) paintHit(context, x(step), top, Math.min(7, height / 2.2), ink);
  }
  for (const step of lostSteps(run, row)) {
    const size = Math.min(4, height / 4);
    paintPreemption(context, x(step) + Math.max(size + 1, Math.min(cell / 2, 10)), y + height / 2, size, ink);
  }
  const first = run.firstToken(row);
  if (first >= 0) paintFirstToken(context, x(first + 1), top, room, ink);
  if (facts.ended !== null) paintEnd(context, x(facts.ended + 1), top, room, facts.finish_reason === "abort", ink);
}

/** The steps in which a request was preempted. */
function lostSteps(run: Run, row: number): number[] {
  const found: number[] = [];
  for (let step = 0; step < run.steps; step++) {
    if (run.state(row, step) === STATE.preempted && run.state(row, step - 1) !== STATE.preempted) found.push(step);
  }
  return found;
}

/** The steps whose cell has padding beside its own tokens. */
function paddedSteps(run: Run, row: number): number[] {
  const facts = run.rows[row];
  const admitted = facts?.shortfall ? facts.admissions[0]?.step : undefined;
  if (!run.wire.padding) return admitted === undefined ? [] : [admitted];
  const found: number[] = [];
  for (let step = 0; step < run.steps; step++) {
    if (run.state(row, step) !== STATE.padding && run.paddingAt(row, step)) found.push(step);
  }
  return found;
}
