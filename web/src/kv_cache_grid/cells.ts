// Paints the blocks of the pool: whose they are, how full, what happened to them.

import { type Box, cellBox, isNumbered, type PoolLayout } from "./layout";
import { isLit, type Ring, ringedBlocks, share } from "./look";
import type { Palette, Tone } from "./palette";
import type { Moment } from "./pool";
import { paintSmallCells } from "./small_cells";

export interface CellPicture {
  moment: Moment;
  layout: PoolLayout;
  palette: Palette;
  nullBlock: boolean;
  lit: ReadonlySet<number> | null; // sequences whose blocks stand out; null for all
  numbered: boolean; // whether ids are painted, where there is room
}

const BANDS = 4; // owners that are drawn in one cell
const SMALL = 12; // pixels below which cells are painted pixel by pixel
const DIMMED = 0.28;

/** Paint the rows of blocks that reach into the window from `top` on, `height` pixels high. */
export function paintCells(context: CanvasRenderingContext2D, picture: CellPicture, top: number, height: number): void {
  const { layout, palette } = picture;
  const firstRow = Math.max(0, Math.floor(top / layout.cell));
  const lastRow = Math.min(layout.rows, Math.ceil((top + height) / layout.cell));
  const [first, last] = [firstRow * layout.columns, Math.min(layout.count, lastRow * layout.columns)];
  if (layout.cell < SMALL) paintSmallCells(context, picture, first, last, top);
  context.save();
  context.translate(0, -top);
  if (layout.gutter) paintGutter(context, picture, firstRow, lastRow);
  if (layout.cell >= SMALL) {
    const hatch = hatched(context, palette);
    const rings = ringedBlocks(picture.moment.changes);
    for (let block = first; block < last; block++) paintCell(context, picture, block, rings.get(block), hatch);
  }
  context.restore();
}

/** The tones of a block's holders, at most four; those that no table names come last. */
export function bandsOf(picture: CellPicture, block: number): Tone[] {
  const { moment, palette } = picture;
  const owners = moment.owners.of(block);
  const bands = owners.slice(0, BANDS).map((owner) => palette.tone(owner));
  if ((moment.state.refCounts[block] ?? 0) > owners.length && bands.length < BANDS) bands.push(palette.unknown);
  return bands;
}

function paintCell(
  context: CanvasRenderingContext2D,
  picture: CellPicture,
  block: number,
  ring: Ring | undefined,
  hatch: CanvasPattern | string,
): void {
  const { moment, layout, palette } = picture;
  const { state } = moment;
  const box = cellBox(layout, block);
  context.globalAlpha = 1;
  if (block === 0 && picture.nullBlock) return paintNull(context, box, palette);
  context.globalAlpha = isLit(picture, block) ? 1 : DIMMED;
  if (state.inUse(block)) paintHeld(context, picture, block, box);
  else {
    if (state.cached(block)) {
      context.fillStyle = hatch;
      context.fillRect(box.x, box.y, box.width, box.height);
    }
    outline(context, box, palette.theme.border, 1);
  }
  if (ring) paintRing(context, ring, box, palette);
  if (picture.numbered && isNumbered(layout)) paintNumber(context, picture, block, box);
}

function paintHeld(context: CanvasRenderingContext2D, picture: CellPicture, block: number, box: Box): void {
  const { moment, layout, palette } = picture;
  const bands = bandsOf(picture, block);
  const width = box.width / bands.length;
  const filled = box.height * share(picture, block);
  bands.forEach((tone, i) => {
    const x = box.x + Math.round(i * width);
    const w = box.x + Math.round((i + 1) * width) - x;
    if (filled < box.height) {
      context.fillStyle = tone.weak;
      context.fillRect(x, box.y, w, box.height);
    }
    context.fillStyle = tone.strong;
    context.fillRect(x, box.y + box.height - filled, w, filled);
  });
  if (filled < box.height) outline(context, box, bands[0]?.strong ?? palette.theme.border, 1);
  const count = moment.state.refCounts[block] ?? 0;
  if (count > 1) paintCount(context, count, box, layout, palette);
}

/** The number of references, where there is room; else a spot. */
function paintCount(context: CanvasRenderingContext2D, count: number, box: Box, layout: PoolLayout, palette: Palette): void {
  const { background, foreground, font } = palette.theme;
  context.fillStyle = background;
  if (layout.cell < 20) {
    const size = Math.max(2, Math.round(box.width / 3));
    context.fillRect(box.x + Math.floor((box.width - size) / 2), box.y + Math.floor((box.height - size) / 2), size, size);
    return;
  }
  const text = `×${count}`;
  context.font = `600 10px ${font}`;
  const width = context.measureText(text).width + 5;
  context.fillRect(box.x + box.width - width - 1, box.y + box.height - 13, width, 12);
  context.fillStyle = foreground;
  context.textAlign = "right";
  context.textBaseline = "alphabetic";
  context.fillText(text, box.x + box.width - 3, box.y + box.height - 3.5);
}

const DASHES: Record<Ring, number[]> = { copied: [], evicted: [4, 3], taken: [], found: [1.5, 2.5] };

/** Ring a block that was taken, found, evicted or copied since the step before. */
function paintRing(context: CanvasRenderingContext2D, ring: Ring, box: Box, { theme, orange }: Palette): void {
  context.setLineDash(DASHES[ring]);
  outline(context, box, ring === "evicted" ? orange : theme.foreground, 2);
  context.setLineDash([]);
  if (ring !== "copied") return;
  outline(context, { x: box.x + 3, y: box.y + 3, width: box.width - 6, height: box.height - 6 }, theme.foreground, 1);
}

function paintNumber(context: CanvasRenderingContext2D, picture: CellPicture, block: number, box: Box): void {
  const { background, font } = picture.palette.theme;
  context.font = `10px ${font}`;
  if (needsGround(picture, block)) {
    context.fillStyle = background;
    context.fillRect(box.x + 1, box.y + 2, context.measureText(String(block)).width + 4, 13);
  }
  context.fillStyle = numberColour(picture, block);
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillText(String(block), box.x + 3, box.y + 12.5);
}

/** Whether a block's id, at the top of its cell, lies over several colours. */
export function needsGround(picture: CellPicture, block: number): boolean {
  if (!picture.moment.state.inUse(block)) return false;
  const filled = share(picture, block);
  return (picture.moment.state.refCounts[block] ?? 0) > 1 || (filled > 0.6 && filled < 1);
}

export function numberColour(picture: CellPicture, block: number): string {
  const { palette, moment } = picture;
  const plain = moment.state.inUse(block) && share(picture, block) === 1 && !needsGround(picture, block);
  return plain ? (bandsOf(picture, block)[0]?.ink ?? palette.theme.foreground) : palette.theme.foreground;
}

function paintNull(context: CanvasRenderingContext2D, box: Box, palette: Palette): void {
  context.setLineDash([2, 2]);
  outline(context, box, palette.theme.muted, 1);
  context.setLineDash([]);
  context.beginPath();
  context.moveTo(box.x + 1, box.y + box.height - 1);
  context.lineTo(box.x + box.width - 1, box.y + 1);
  context.stroke();
}

/** The id of each row's first block, as often as there is room. */
function paintGutter(context: CanvasRenderingContext2D, { layout, palette }: CellPicture, first: number, last: number): void {
  const every = Math.ceil(13 / layout.cell);
  context.globalAlpha = 1;
  context.fillStyle = palette.theme.muted;
  context.font = `10px ${palette.theme.font}`;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let row = Math.ceil(first / every) * every; row < last; row += every) {
    const y = row * layout.cell + Math.max(layout.cell, 11) / 2;
    context.fillText(String(row * layout.columns), layout.gutter - 6, y);
  }
}

export function outline(context: CanvasRenderingContext2D, box: Box, colour: string, thick: number): void {
  context.strokeStyle = colour;
  context.lineWidth = thick;
  context.strokeRect(box.x + thick / 2, box.y + thick / 2, box.width - thick, box.height - thick);
}

function hatched(context: CanvasRenderingContext2D, palette: Palette): CanvasPattern | string {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  if (!pen) return palette.cached;
  pen.strokeStyle = palette.theme.muted;
  pen.globalAlpha = 0.75;
  pen.lineWidth = 1;
  for (const shift of [-6, 0, 6]) {
    pen.beginPath();
    pen.moveTo(shift, 6);
    pen.lineTo(shift + 6, 0);
    pen.stroke();
  }
  return context.createPattern(tile, "repeat") ?? palette.cached;
}
