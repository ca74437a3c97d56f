// Paints the figure: what changes with the window below, what follows cursor and selection above.

import { sizeCanvas } from "../lib/dom";
import { paintAxis, paintPill } from "./axis";
import { drawLabel, drawLine } from "./draw";
import { type Box, columnX, type Panel, rowY } from "./layout";
import { labels, lines, type Picture, shortened } from "./labels";
import { errorColour, paintRows } from "./rows";
import { paintStrips } from "./strips";
import type { Run } from "./timeline";

/** What is marked on top of the figure. */
export interface Marks {
  step: number;
  selected: number[]; // rows
  cursor: { row: number | null; column: number } | null;
}

type Context = CanvasRenderingContext2D;

export function paintFigure(canvas: HTMLCanvasElement, picture: Picture): void {
  const context = sizeCanvas(canvas, picture.layout.width, picture.layout.height);
  paintShapes(context, picture);
  for (const line of lines(picture)) drawLine(context, line);
  for (const label of labels(picture)) drawLabel(context, label, picture.theme);
}

/** The cells and bars, without text and axes. */
export function paintShapes(context: Context, picture: Picture): void {
  const { runs, layout, window, theme } = picture;
  runs.forEach((run, i) => {
    const panel = layout.panels[i];
    if (!panel) return;
    stripes(context, picture, panel.rows);
    paintRows(context, run, window, panel.rows, theme);
    paintStrips(context, run, window, panel, theme);
  });
}

export function paintMarks(canvas: HTMLCanvasElement, picture: Picture, marks: Marks): void {
  const { layout, theme, difference, runs } = picture;
  const context = sizeCanvas(canvas, layout.width, layout.height);
  const under = marks.cursor?.row ?? null;
  const read = under ?? marks.selected[0] ?? null; // the request whose times are shown
  const named = new Set(under === null ? marks.selected : [...marks.selected, under]);
  layout.panels.forEach((panel, i) => {
    const run = runs[i];
    if (!run) return;
    band(context, picture, panel, marks.step, 0.2);
    if (marks.cursor) band(context, picture, panel, marks.cursor.column, 0.08);
    within(context, panel.rows, () => {
      if (read !== null) paintTimes(context, picture, run, read, panel.rows);
      for (const row of marks.selected) outlineRow(context, picture, panel.rows, row);
      if (marks.cursor && under !== null) outlineCell(context, picture, panel.rows, under, marks.cursor.column);
      const odd = difference ? run.rows.findIndex((row) => row.id === difference.request_id) : -1;
      if (difference && odd >= 0) outlineCell(context, picture, panel.rows, odd, difference.step, errorColour(theme));
    });
    for (const row of named) rowPill(context, picture, run, panel.rows, row);
  });
  paintAxis(context, picture, marks);
}

/** Time to the first token as a bracket under the row, a dot a token, a shade over each long gap. */
function paintTimes(context: Context, { window, theme }: Picture, run: Run, row: number, box: Box): void {
  const height = box.height / window.rows;
  const [arrival, first] = [run.arrival(row), run.firstToken(row)];
  if (height < 5 || first < 0) return;
  const bottom = rowY(box, window, row) + height - 1;
  const x = (column: number): number => columnX(box, window, column);
  const cell = box.width / window.columns;
  const gaps = run.gaps(row);
  const usual = gaps.map((gap) => gap.time).sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0;
  context.fillStyle = errorColour(theme);
  context.globalAlpha = 0.22;
  for (const { before, step, time } of gaps) {
    if (time >= 2 * usual && usual > 0) context.fillRect(x(before + 1), bottom - height + 1, x(step + 1) - x(before + 1), height);
  }
  context.globalAlpha = 1;
  context.strokeStyle = context.fillStyle = theme.foreground;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x(arrival) + 0.75, bottom - 4);
  context.lineTo(x(arrival) + 0.75, bottom);
  context.lineTo(x(first + 1) - 0.75, bottom);
  context.lineTo(x(first + 1) - 0.75, bottom - 4);
  context.stroke();
  if (cell < 3) return;
  for (const { step } of gaps) {
    context.beginPath();
    context.arc(x(step) + cell / 2, bottom - 1.5, 1.3, 0, 2 * Math.PI);
    context.fill();
  }
}

function band(context: Context, { window, theme }: Picture, panel: Panel, column: number, opacity: number): void {
  const { rows, slots } = panel;
  const cell = Math.max(2, rows.width / window.columns);
  const x = columnX(rows, window, column);
  if (x + cell < rows.x || x > rows.x + rows.width) return;
  const left = Math.max(rows.x, x);
  context.fillStyle = theme.accent;
  context.globalAlpha = opacity;
  context.fillRect(left, rows.y, Math.min(x + cell, rows.x + rows.width) - left, slots.y + slots.height - rows.y);
  context.globalAlpha = 1;
}

function outlineRow(context: Context, { window, theme }: Picture, box: Box, row: number): void {
  context.strokeStyle = theme.accent;
  context.lineWidth = 1.5;
  context.strokeRect(box.x + 0.75, rowY(box, window, row) + 0.5, box.width - 1.5, Math.max(2, box.height / window.rows - 1));
}

function outlineCell(context: Context, { window, theme }: Picture, box: Box, row: number, column: number, colour = theme.accent): void {
  const [cell, height] = [box.width / window.columns, box.height / window.rows];
  const [wide, high] = [Math.max(6, cell), Math.max(6, height)];
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.strokeRect(
    columnX(box, window, column) + (cell - wide) / 2,
    rowY(box, window, row) + (height - high) / 2 + 1,
    wide,
    high - 2,
  );
}

function rowPill(context: Context, { window, theme, measure, layout }: Picture, run: Run, box: Box, row: number): void {
  const height = box.height / window.rows;
  const y = rowY(box, window, row) + height / 2;
  if (y < box.y || y > box.y + box.height) return;
  const text = shortened(run.rows[row]?.id ?? "", layout.axis.x - 18, (t) => measure(t, 11));
  const width = measure(text, 11);
  paintPill(context, { text, x: box.x - 8 - width / 2, width, colour: theme.accent }, y, theme);
}

/** Faint bands under every second row, to follow a row across. */
function stripes(context: Context, { window, theme }: Picture, box: Box): void {
  const height = box.height / window.rows;
  if (height < 8) return;
  within(context, box, () => {
    context.fillStyle = theme.foreground;
    context.globalAlpha = 0.035;
    for (let row = 2 * Math.floor(window.row / 2); row < window.row + window.rows; row += 2) {
      context.fillRect(box.x, rowY(box, window, row), box.width, height);
    }
    context.globalAlpha = 1;
  });
}

function within(context: Context, { x, y, width, height }: Box, paint: () => void): void {
  context.save();
  context.beginPath();
  context.rect(x - 1, y - 1, width + 2, height + 2);
  context.clip();
  paint();
  context.restore();
}
