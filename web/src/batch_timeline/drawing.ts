// The figure as an SVG sheet: text, axes and limits as vectors, the cells as one embedded image.

import { type Drawing, SvgSheet } from "../lib/download";
import { labels, lines, type Picture, stepLabels } from "./labels";
import { columnX } from "./layout";
import { paintShapes } from "./paint";

const SHARP = 2; // pixels of the image for each of the figure

/** Draw the picture for a paper or a slide; the texts in `notes` stand below it. */
export function timelineDrawing(picture: Picture, step: number, title: string, notes: string[]): Drawing {
  const { layout, theme, window } = picture;
  const down = 30;
  const foot = layout.height + down + 14;
  const sheet = new SvgSheet(layout.width, foot + 16 * notes.length, theme.background, theme.font);
  sheet.text(title, { x: 2, y: 20, "font-size": 13, "font-weight": 600, fill: theme.foreground });
  sheet.image(shapes(picture), { x: 0, y: down, width: layout.width, height: layout.height });
  const cell = layout.axis.width / window.columns;
  for (const { rows, slots } of layout.panels) {
    const x = Math.max(rows.x, columnX(rows, window, step));
    const width = Math.min(columnX(rows, window, step) + cell, rows.x + rows.width) - x;
    const band = { x, y: rows.y + down, width: Math.max(0, width), height: slots.y + slots.height - rows.y };
    sheet.add("rect", { ...band, fill: theme.accent, "fill-opacity": 0.2 });
  }
  for (const { x1, y1, x2, y2, colour, dash } of lines(picture)) {
    sheet.add("line", { x1, y1: y1 + down, x2, y2: y2 + down, stroke: colour, "stroke-dasharray": dash.join(" ") });
  }
  for (const { text, x, y, anchor, size, weight, colour } of [...stepLabels(picture), ...labels(picture)]) {
    const place = { x, y: y + down, "text-anchor": anchor, "dominant-baseline": "central" };
    sheet.text(text, { ...place, "font-size": size, "font-weight": weight, fill: colour });
  }
  notes.forEach((note, i) => sheet.text(note, { x: 2, y: foot + 16 * i, "font-size": 11, fill: theme.muted }));
  return sheet.drawing();
}

function shapes(picture: Picture): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = SHARP * picture.layout.width;
  canvas.height = SHARP * picture.layout.height;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser gives no 2D canvas");
  context.scale(SHARP, SHARP);
  paintShapes(context, picture);
  return canvas;
}
