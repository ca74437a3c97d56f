// Where everything stands in the figure. Pure geometry: knows neither Jupyter nor the DOM.

import type { Limits, Window } from "./window";

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** One run: its rows, and below them the tokens and the slots of each step. */
export interface Panel {
  titleY: number | null; // middle of its title; null without one
  rows: Box;
  tokens: Box;
  slots: Box;
}

export interface Layout {
  width: number;
  height: number;
  axis: Box; // step numbers, above all panels
  panels: Panel[];
}

export interface Place {
  row: number | null; // null outside the rows: on the axis or on a strip
  column: number;
}

const ROW = 20; // the height of a row where there is room, and the most that it is enlarged to
const READABLE = 14;
const LEAST_COLUMNS = 8;

export function layout(width: number, rows: number, runs: number, titled: boolean): Layout {
  const left = Math.max(62, Math.min(116, Math.floor(width * 0.13)));
  const [x, plot] = [left, width - left - 14]; // 14: the scroll bar and half a step number
  const high = Math.max(44, Math.min(runs > 1 ? 240 : 400, rows * ROW));
  const panels: Panel[] = [];
  let y = 24;
  for (let run = 0; run < runs; run++) {
    const titleY = titled ? y + 10 : null;
    y += titled ? 22 : 0;
    const box = (height: number, gap: number): Box => {
      const made = { x, y, width: plot, height };
      y += height + gap;
      return made;
    };
    panels.push({ titleY, rows: box(high, 8), tokens: box(42, 8), slots: box(24, run + 1 < runs ? 12 : 4) });
  }
  return { width, height: y + 10, axis: { x, y: 0, width: plot, height: 22 }, panels };
}

/** How far the window may go for this layout. */
export function limits(place: Layout, rows: number, columns: number): Limits {
  const high = place.panels[0]?.rows.height ?? 1;
  return {
    rows: Math.max(1, rows),
    columns: Math.max(1, columns),
    leastRows: high / ROW,
    homeRows: high / READABLE,
    leastColumns: LEAST_COLUMNS,
  };
}

/** The left edge of a step. */
export function columnX(box: Box, window: Window, column: number): number {
  return box.x + ((column - window.column) * box.width) / window.columns;
}

/** The top edge of a row. */
export function rowY(box: Box, window: Window, row: number): number {
  return box.y + ((row - window.row) * box.height) / window.rows;
}

/** The row and step under a point, or null outside rows, strips and axis, and beyond the last step. */
export function placeAt(place: Layout, window: Window, within: Limits, x: number, y: number): Place | null {
  const { axis, panels } = place;
  const column = Math.floor(window.column + ((x - axis.x) / axis.width) * window.columns);
  if (x < axis.x || x >= axis.x + axis.width || column >= within.columns) return null;
  for (const { rows } of panels) {
    const row = Math.floor(window.row + ((y - rows.y) / rows.height) * window.rows);
    if (y >= rows.y && y < rows.y + rows.height) return row < within.rows ? { row, column } : null;
  }
  const strips = panels.flatMap(({ tokens, slots }) => [tokens, slots]);
  return [axis, ...strips].some((box) => y >= box.y && y < box.y + box.height) ? { row: null, column } : null;
}

/** The steps that are numbered: every 1, 2, 5, 10, ... so that the numbers have room. */
export function numbered(window: Window, width: number, columns: number): number[] {
  const least = (44 * window.columns) / width;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  const every = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least) ?? 10 * power;
  const made: number[] = [];
  for (let i = Math.ceil(window.column / every) * every; i < Math.min(columns, window.column + window.columns); i += every) {
    made.push(i);
  }
  return made;
}
