// Paints the large map: cells, mask, labels, cursor.

import { sizeCanvas } from "../lib/dom";
import type { Theme } from "../lib/theme";
import { visible } from "../lib/tokens";
import type { HeadMap } from "./head_map";
import { boxOf, labelStep, type Layout, type View } from "./layout";

export interface Facts {
  revision: number;
  tokens: string[];
  query_positions: number[];
  layers: number[];
  heads: number[];
  kv_heads: number[];
  windows: (number | null)[];
  tiled: boolean;
  edited: number | null;
  moved: number[];
}

export interface Cell {
  row: number;
  column: number;
}

export interface Picture {
  map: HeadMap;
  facts: Facts;
  view: View;
  layout: Layout;
  theme: Theme;
  pixels: Uint32Array;
  overlay: boolean;
}

/** The cells in view, one pixel a cell or a max-pooled block of cells, as an image to be stretched. */
export function cellImage(picture: Picture): HTMLCanvasElement {
  const { map, facts, view, layout, pixels, overlay } = picture;
  const ratio = window.devicePixelRatio || 1;
  const rows = view.rowStop - view.rowStart;
  const columns = view.columnStop - view.columnStart;
  // Where cells outnumber pixels, a pixel takes the maximum, so that one spike does not vanish.
  const down = Math.max(map.poolRows, Math.ceil(rows / (layout.map.height * ratio)));
  const across = Math.max(map.poolColumns, Math.ceil(columns / (layout.map.width * ratio)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil(columns / across);
  canvas.height = Math.ceil(rows / down);
  const context = canvas.getContext("2d");
  if (!context) return canvas;
  const image = context.createImageData(canvas.width, canvas.height);
  const out = new Uint32Array(image.data.buffer);
  const window_ = facts.windows[facts.layers.indexOf(map.layer)] ?? Infinity;
  for (let i = 0; i < canvas.height; i++) {
    const top = view.rowStart + i * down;
    const bottom = Math.min(top + down, view.rowStop) - 1;
    const last = facts.query_positions[bottom] ?? 0;
    const first = facts.query_positions[top] ?? 0;
    for (let j = 0; j < canvas.width; j++) {
      const left = view.columnStart + j * across;
      const right = Math.min(left + across, view.columnStop) - 1;
      // A masked block stays transparent: what is not allowed looks different from a weight of 0.
      if (overlay && (left > last || right <= first - window_)) continue;
      let most = 0;
      for (let row = top; row <= bottom; row += map.poolRows) {
        for (let column = left; column <= right; column += map.poolColumns) {
          most = Math.max(most, map.bitsAt(row, column));
        }
      }
      out[i * canvas.width + j] = pixels[most] ?? 0;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Paint the map with its labels onto `canvas`. */
export function paintMap(canvas: HTMLCanvasElement, picture: Picture, image: HTMLCanvasElement): void {
  const { layout, theme } = picture;
  const context = sizeCanvas(canvas, layout.canvas.width, layout.canvas.height);
  const { x, y, width, height } = layout.map;
  hatch(context, picture);
  context.imageSmoothingEnabled = false;
  context.drawImage(image, x, y, width, height);
  context.strokeStyle = theme.border;
  context.lineWidth = 1;
  context.strokeRect(x - 0.5, y - 0.5, width + 1, height + 1);
  for (const label of labels(picture)) drawLabel(context, label, theme.muted, theme.font);
}

/** Paint what follows the pointer: row and column of the cell, pinned rows, the labels of the cell. */
export function paintCursor(canvas: HTMLCanvasElement, picture: Picture, cursor: Cell | null, marked: number[]): void {
  const { layout, view, theme, map } = picture;
  const context = sizeCanvas(canvas, layout.canvas.width, layout.canvas.height);
  const box = layout.map;
  context.save();
  context.beginPath();
  context.rect(box.x - 2, box.y - 2, box.width + 4, box.height + 4);
  context.clip();
  context.strokeStyle = theme.accent;
  for (const row of marked) {
    const line = boxOf(box, view, row, view.columnStart, 1, view.columnStop - view.columnStart);
    context.globalAlpha = 0.8;
    context.strokeRect(line.x, line.y, line.width, Math.max(1, line.height));
  }
  if (cursor) {
    const row = boxOf(box, view, cursor.row, view.columnStart, 1, view.columnStop - view.columnStart);
    const column = boxOf(box, view, view.rowStart, cursor.column, view.rowStop - view.rowStart, 1);
    const cell = boxOf(box, view, cursor.row, cursor.column, map.poolRows, map.poolColumns);
    context.fillStyle = theme.accent;
    context.globalAlpha = 0.14;
    context.fillRect(row.x, row.y, row.width, Math.max(1, row.height));
    context.fillRect(column.x, column.y, Math.max(1, column.width), column.height);
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.strokeRect(cell.x, cell.y, Math.max(3, cell.width), Math.max(3, cell.height));
  }
  context.restore();
  if (cursor) for (const label of cursorLabels(picture, cursor)) drawPill(context, label, theme);
}

export interface Label {
  text: string;
  x: number;
  y: number;
  slanted: boolean;
}

/** The labels of rows and columns that have room. */
export function labels(picture: Picture): Label[] {
  const { facts, view, layout } = picture;
  const made: Label[] = [];
  const rowStep = labelStep(view.rowStop - view.rowStart, layout.map.height);
  for (let row = view.rowStart; row < view.rowStop; row += rowStep) made.push(rowLabel(picture, row));
  const columnStep = labelStep(view.columnStop - view.columnStart, layout.map.width);
  for (let column = view.columnStart; column < view.columnStop; column += columnStep) {
    made.push(columnLabel(picture, column));
  }
  return made.filter((label) => facts.tokens.length > 0 && label.text !== "");
}

function cursorLabels(picture: Picture, cursor: Cell): Label[] {
  return [rowLabel(picture, cursor.row), columnLabel(picture, cursor.column)];
}

function rowLabel({ facts, view, layout }: Picture, row: number): Label {
  const box = boxOf(layout.map, view, row, view.columnStart);
  const token = facts.tokens[facts.query_positions[row] ?? 0] ?? "";
  return { text: visible(token, 11), x: layout.map.x - 6, y: box.y + box.height / 2, slanted: false };
}

function columnLabel({ facts, view, layout }: Picture, column: number): Label {
  const box = boxOf(layout.map, view, view.rowStart, column);
  return { text: visible(facts.tokens[column] ?? "", 10), x: box.x + box.width / 2, y: layout.map.y - 6, slanted: true };
}

function drawLabel(context: CanvasRenderingContext2D, label: Label, colour: string, font: string): void {
  context.save();
  context.direction = "ltr";
  context.font = `11px ${font}`;
  context.fillStyle = colour;
  context.textBaseline = "middle";
  context.textAlign = label.slanted ? "left" : "right";
  context.translate(label.x, label.y);
  if (label.slanted) context.rotate(-Math.PI / 3);
  context.fillText(label.text, 0, 0);
  context.restore();
}

function drawPill(context: CanvasRenderingContext2D, label: Label, theme: Theme): void {
  context.save();
  context.font = `600 11px ${theme.font}`;
  const width = context.measureText(label.text).width + 8;
  context.translate(label.x, label.y);
  if (label.slanted) context.rotate(-Math.PI / 3);
  context.fillStyle = theme.accent;
  context.beginPath();
  context.roundRect(label.slanted ? -4 : 4 - width, -8, width, 16, 4);
  context.fill();
  context.restore();
  drawLabel(context, label, theme.dark ? "#10151b" : "#ffffff", `${theme.font}`);
}

function hatch(context: CanvasRenderingContext2D, { layout, theme }: Picture): void {
  const { x, y, width, height } = layout.map;
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = theme.border;
  context.lineWidth = 1;
  context.beginPath();
  for (let offset = -height; offset < width; offset += 6) {
    context.moveTo(x + offset, y + height);
    context.lineTo(x + offset + height, y);
  }
  context.stroke();
  context.restore();
}
