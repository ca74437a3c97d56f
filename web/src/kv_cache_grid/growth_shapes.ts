// Layers × tokens as plain shapes: keys above, values below in each cell, each layer's bytes at the right; pure.

import { requestColour } from "../lib/request_colours";
import type { Theme } from "../lib/theme";
import { type GrowthLayout, heldAt, layersOf } from "./growth";
import type { Box } from "./layout";
import type { GenerationWire } from "./wire";
import { sizeOf } from "./words";

export interface GrowthPicture {
  wire: GenerationWire;
  step: number;
  layout: GrowthLayout;
  theme: Theme;
}

export interface GrowthCell {
  layer: number;
  token: number;
}

/** What the painters of canvas and SVG draw, in this order. */
export interface Shapes {
  fills: { box: Box; colour: string }[];
  strokes: { x1: number; y1: number; x2: number; y2: number; colour: string }[];
  frames: { box: Box; colour: string; thick: number; dash: number[] }[];
  texts: { text: string; x: number; y: number; end: boolean }[];
}

export function keyColour(theme: Theme): string {
  return requestColour(0, theme.dark);
}

export function valueColour(theme: Theme): string {
  return requestColour(2, theme.dark);
}

/** Where the cells of layers and tokens stand, both ends included. */
export function cellsBox({ layout }: GrowthPicture, layers: [number, number], tokens: [number, number]): Box {
  const [first, last] = layers;
  const [left, right] = tokens;
  return {
    x: layout.label + left * layout.column,
    y: layout.top + first * layout.row,
    width: (right - left + 1) * layout.column,
    height: (last - first + 1) * layout.row,
  };
}

export function growthCellAt({ layout, wire }: GrowthPicture, x: number, y: number): GrowthCell | null {
  const token = Math.floor((x - layout.label) / layout.column);
  const layer = Math.floor((y - layout.top) / layout.row);
  const inside = token >= 0 && token < wire.tokens.length && layer >= 0 && layer < layersOf(wire);
  return inside ? { layer, token } : null;
}

export function growthShapes(picture: GrowthPicture): Shapes {
  const { wire, step, theme } = picture;
  const shapes: Shapes = { fills: [], strokes: [], frames: [], texts: [] };
  const last = layersOf(wire) - 1;
  const all = (from: number, to: number): Box => cellsBox(picture, [0, last], [from, to]);
  const frame = (box: Box, colour: string, thick = 1, dash: number[] = []): void => void shapes.frames.push({ box, colour, thick, dash });
  frame(all(0, wire.tokens.length - 1), theme.border);
  addCells(shapes, picture);
  const computed = wire.scheduled_tokens[step] ?? 0;
  const end = wire.num_prompt_tokens + step; // tokens that this step has seen
  if (computed && wire.use_cache) frame(all(end - computed, end - 1), theme.foreground, 2);
  else if (computed) addThrownAway(shapes, all(0, computed - 1), theme.muted);
  if (end < wire.tokens.length) frame(all(end, end), theme.muted, 1, [3, 2]); // chosen: the next step computes it
  addAxes(shapes, picture);
  addBytes(shapes, picture);
  return shapes;
}

function addCells({ fills }: Shapes, picture: GrowthPicture): void {
  const { wire, step, theme, layout } = picture;
  const held = wire.kv_tokens[step] ?? 0;
  if (!held) return;
  const gap = layout.row >= 8 ? 1 : 0;
  for (let layer = 0; layer < layersOf(wire); layer++) {
    const { x, y, width, height } = cellsBox(picture, [layer, layer], [0, held - 1]);
    const half = Math.ceil((height - gap) / 2);
    fills.push({ box: { x, y, width, height: half }, colour: keyColour(theme) });
    fills.push({ box: { x, y: y + half, width, height: height - gap - half }, colour: valueColour(theme) });
  }
  if (layout.column < 5) return;
  for (let token = 1; token < held; token++) {
    const x = Math.round(layout.label + token * layout.column) - 1;
    fills.push({ box: { x, y: layout.top, width: 1, height: layout.height }, colour: theme.background });
  }
}

/** Without a cache: keys and values that this step computed and did not keep, hatched. */
function addThrownAway({ strokes, frames }: Shapes, box: Box, colour: string): void {
  const [right, bottom] = [box.x + box.width, box.y + box.height];
  for (let x = box.x - box.height; x < right; x += 7) {
    const [x1, x2] = [Math.max(box.x, x), Math.min(right, x + box.height)];
    strokes.push({ x1, y1: bottom - (x1 - x), x2, y2: bottom - (x2 - x), colour });
  }
  frames.push({ box, colour, thick: 1, dash: [] });
}

/** Positions above the cells, layers beside them, and a line where the new tokens begin. */
function addAxes({ fills, texts }: Shapes, { wire, layout, theme }: GrowthPicture): void {
  const every = 2 ** Math.max(0, Math.ceil(Math.log2(34 / layout.column)));
  for (let token = 0; token < wire.tokens.length; token += every) {
    texts.push({ text: String(token), x: layout.label + token * layout.column + 1, y: layout.top - 5, end: false });
  }
  const next = Math.ceil(12 / layout.row);
  for (let layer = 0; layer < layersOf(wire); layer += next) {
    texts.push({ text: String(layer), x: layout.label - 6, y: layout.top + (layer + 0.5) * layout.row + 3.5, end: true });
  }
  const x = Math.round(layout.label + wire.num_prompt_tokens * layout.column) - 1;
  fills.push({ box: { x, y: layout.top - 3, width: 2, height: layout.height + 6 }, colour: theme.foreground });
}

/** Each layer's bytes of keys and of values, on the scale of the largest layer at the end. */
function addBytes({ fills, texts }: Shapes, { wire, step, layout, theme }: GrowthPicture): void {
  const held = heldAt(wire, step);
  const whole = heldAt({ ...wire, kv_tokens: [wire.tokens.length] }, 0);
  const most = Math.max(1, ...whole.keys.map((bytes, layer) => bytes + (whole.values[layer] ?? 0)));
  const left = layout.label + layout.width + 10;
  const words = layout.bars >= 150 ? 72 : 0;
  const scale = (layout.bars - words - 8) / most;
  held.keys.forEach((keys, layer) => {
    const values = held.values[layer] ?? 0;
    const y = layout.top + layer * layout.row + Math.min(2, layout.row / 6);
    const height = Math.max(1, layout.row - Math.min(4, layout.row / 3));
    fills.push({ box: { x: left, y, width: keys * scale, height }, colour: keyColour(theme) });
    fills.push({ box: { x: left + keys * scale, y, width: values * scale, height }, colour: valueColour(theme) });
    if (words && layout.row >= 11) {
      texts.push({ text: sizeOf(keys + values), x: left + (keys + values) * scale + 5, y: y + height / 2 + 3.5, end: false });
    }
  });
}
