// All heads small: a row a layer, a column a head, heads that share a KV head under one bracket.

import { bytes, type PackedArray } from "../lib/arrays";
import { sizeCanvas } from "../lib/dom";
import type { Theme } from "../lib/theme";
import type { Layout } from "./layout";
import type { Facts } from "./paint";

export interface ThumbnailWire {
  revision?: number;
  shades?: PackedArray; // (layers, heads, rows, columns): 255 × √weight
}

interface KvGroup {
  kvHead: number;
  first: number;
  last: number;
}

/** Neighbouring query heads that read the same KV head. */
export function kvGroups(kvHeads: number[]): KvGroup[] {
  const groups: KvGroup[] = [];
  kvHeads.forEach((kvHead, i) => {
    const open = groups.at(-1);
    if (open && open.kvHead === kvHead) open.last = i;
    else groups.push({ kvHead, first: i, last: i });
  });
  return groups;
}

/** The head under a point of the thumbnails' canvas, or null. */
export function headAt(layout: Layout, facts: Facts, x: number, y: number): { layer: number; head: number } | null {
  const { size, gap, left, top } = layout.thumbnail;
  const layer = facts.layers[Math.floor((y - top) / (size + gap))];
  const head = facts.heads[Math.floor((x - left) / (size + gap))];
  return x < left || y < top || layer === undefined || head === undefined ? null : { layer, head };
}

/** One image of all thumbnails, a pixel a pooled cell; made once for a record and a theme. */
export function thumbnailSheet(wire: ThumbnailWire, pixels: Uint32Array): HTMLCanvasElement | null {
  if (!wire.shades) return null;
  const [layers = 0, heads = 0, rows = 0, columns = 0] = wire.shades.shape;
  const shades = bytes(wire.shades);
  const canvas = document.createElement("canvas");
  canvas.width = heads * columns;
  canvas.height = layers * rows;
  const context = canvas.getContext("2d");
  if (!context) return null;
  const image = context.createImageData(canvas.width, canvas.height);
  const out = new Uint32Array(image.data.buffer);
  const table = shadeTable(pixels);
  for (let i = 0; i < shades.length; i++) {
    const column = i % columns;
    const row = Math.floor(i / columns) % rows;
    const head = Math.floor(i / (columns * rows)) % heads;
    const layer = Math.floor(i / (columns * rows * heads));
    out[(layer * rows + row) * canvas.width + head * columns + column] = table[shades[i] ?? 0] ?? 0;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Paint the thumbnails with their labels, brackets and the frame around the shown head. */
export function paintThumbnails(
  canvas: HTMLCanvasElement,
  layout: Layout,
  facts: Facts,
  theme: Theme,
  sheet: HTMLCanvasElement | null,
  shown: { layer: number; head: number },
): void {
  const { size, gap, left, top, width, height } = layout.thumbnail;
  const context = sizeCanvas(canvas, width, height);
  const step = size + gap;
  context.direction = "ltr";
  context.font = `10px ${theme.font}`;
  context.fillStyle = theme.muted;
  context.strokeStyle = theme.border;
  context.textBaseline = "middle";
  context.textAlign = "right";
  const every = Math.ceil(11 / step);
  facts.layers.forEach((layer, i) => {
    if (i % every === 0) context.fillText(`L${layer}`, left - 5, top + i * step + size / 2);
  });
  context.textAlign = "center";
  const wide = Math.ceil(16 / step);
  facts.heads.forEach((head, j) => {
    if (j % wide === 0) context.fillText(String(head), left + j * step + size / 2, top - 8);
  });
  for (const group of kvGroups(facts.kv_heads)) bracket(context, layout, group, facts.kv_heads.length);
  context.imageSmoothingEnabled = false;
  const [rows, columns] = sheet ? [sheet.height / facts.layers.length, sheet.width / facts.heads.length] : [0, 0];
  facts.layers.forEach((layer, i) =>
    facts.heads.forEach((head, j) => {
      const [x, y] = [left + j * step, top + i * step];
      if (sheet) context.drawImage(sheet, j * columns, i * rows, columns, rows, x, y, size, size);
      else context.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
      if (layer === shown.layer && head === shown.head) outline(context, theme, x, y, size);
    }),
  );
}

function bracket(context: CanvasRenderingContext2D, layout: Layout, group: KvGroup, heads: number): void {
  const { size, gap, left, top } = layout.thumbnail;
  const [start, stop] = [left + group.first * (size + gap), left + group.last * (size + gap) + size];
  context.beginPath();
  context.moveTo(start + 0.5, top - 15);
  context.lineTo(start + 0.5, top - 18.5);
  context.lineTo(stop - 0.5, top - 18.5);
  context.lineTo(stop - 0.5, top - 15);
  context.stroke();
  const room = (stop - start) / (heads > 16 ? 1 : 0.8);
  if (room > 26) context.fillText(room > 44 ? `KV ${group.kvHead}` : String(group.kvHead), (start + stop) / 2, top - 26);
}

function outline(context: CanvasRenderingContext2D, theme: Theme, x: number, y: number, size: number): void {
  context.save();
  context.strokeStyle = theme.accent;
  context.lineWidth = 2.5;
  context.strokeRect(x - 1, y - 1, size + 2, size + 2);
  context.restore();
}

/** Pixels for the 256 shades. They hold √weight; `pixels` is a table by float16 bits. */
function shadeTable(pixels: Uint32Array): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, shade) => pixels[halfOf((shade / 255) ** 2)] ?? 0);
}

/** The float16 bits of a weight from 0 to 1. */
function halfOf(weight: number): number {
  if (weight < 2 ** -14) return Math.round(weight * 2 ** 24);
  const exponent = Math.floor(Math.log2(weight));
  return ((exponent + 15) << 10) + Math.round((weight / 2 ** exponent - 1) * 1024);
}
