// Draws the shapes of a growing cache: on the page's canvas, and as the vectors of a download.

import { type Drawing, SvgSheet } from "../lib/download";
import { outline } from "./cells";
import { layersOf } from "./growth";
import { growthSentence, headsSentence } from "./growth_sentence";
import { cellsBox, type GrowthCell, type GrowthPicture, growthShapes } from "./growth_shapes";
import type { Box } from "./layout";
import { lines } from "./words";

export function paintGrowth(context: CanvasRenderingContext2D, picture: GrowthPicture): void {
  const { fills, strokes, frames, texts } = growthShapes(picture);
  for (const { box, colour } of fills) {
    context.fillStyle = colour;
    context.fillRect(box.x, box.y, box.width, box.height);
  }
  context.lineWidth = 1;
  context.beginPath();
  for (const { x1, y1, x2, y2, colour } of strokes) {
    context.strokeStyle = colour;
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
  }
  context.stroke();
  for (const { box, colour, thick, dash } of frames) {
    context.setLineDash(dash);
    outline(context, box, colour, thick);
  }
  context.setLineDash([]);
  context.fillStyle = picture.theme.muted;
  context.font = `10px ${picture.theme.font}`;
  for (const { text, x, y, end } of texts) {
    context.textAlign = end ? "right" : "left";
    context.fillText(text, x, y);
  }
}

/** Mark the cell under the cursor, with its row and its column. */
export function paintGrowthCursor(context: CanvasRenderingContext2D, picture: GrowthPicture, cell: GrowthCell | null): void {
  if (!cell) return;
  const { theme, wire } = picture;
  const last = layersOf(wire) - 1;
  const wider = ({ x, y, width, height }: Box, by: number): Box => ({ x: x - by, y: y - by, width: Math.max(3, width) + 2 * by, height: height + 2 * by });
  outline(context, wider(cellsBox(picture, [0, last], [cell.token, cell.token]), 0), theme.foreground, 1);
  outline(context, cellsBox(picture, [cell.layer, cell.layer], [0, wire.tokens.length - 1]), theme.foreground, 1);
  const box = cellsBox(picture, [cell.layer, cell.layer], [cell.token, cell.token]);
  outline(context, wider(box, 3), theme.background, 5);
  outline(context, wider(box, 2), theme.foreground, 3);
}

/** Draw the picture for a paper or a slide. */
export function growthDrawing(picture: GrowthPicture): Drawing {
  const { wire, step, layout, theme } = picture;
  const [left, down] = [8, 32];
  const width = Math.max(640, layout.label + layout.width + layout.bars + 32);
  const words = [
    `rows: layers (${layersOf(wire)}), columns: tokens (${wire.tokens.length}), bars: bytes of keys and values`,
    headsSentence(wire, 0),
    ...lines(growthSentence(wire, step), Math.floor(width / 6)),
  ];
  const foot = down + layout.top + layout.height + 24;
  const sheet = new SvgSheet(width, foot + 16 * words.length, theme.background, theme.font);
  sheet.text(`KV cache of one request, step ${step}`, { x: left, y: 21, "font-size": 13, "font-weight": 600, fill: theme.foreground });
  const { fills, strokes, frames, texts } = growthShapes(picture);
  for (const { box, colour } of fills) sheet.add("rect", { ...box, x: left + box.x, y: down + box.y, fill: colour });
  for (const { x1, y1, x2, y2, colour } of strokes) {
    sheet.add("line", { x1: left + x1, y1: down + y1, x2: left + x2, y2: down + y2, stroke: colour });
  }
  for (const { box, colour, thick, dash } of frames) {
    const place = { ...box, x: left + box.x, y: down + box.y };
    sheet.add("rect", { ...place, fill: "none", stroke: colour, "stroke-width": thick, "stroke-dasharray": dash.join(" ") || "none" });
  }
  for (const { text, x, y, end } of texts) {
    sheet.text(text, { x: left + x, y: down + y, "text-anchor": end ? "end" : "start", "font-size": 10, fill: theme.muted });
  }
  words.forEach((text, i) => sheet.text(text, { x: left, y: foot + 16 * i, "font-size": 11, fill: theme.muted }));
  return sheet.drawing();
}
