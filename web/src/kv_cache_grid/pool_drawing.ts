// The pool and its tables as an SVG sheet: text as vectors, the cells as one embedded image.

import { type Drawing, SvgSheet } from "../lib/download";
import { type CellPicture, needsGround, numberColour, paintCells } from "./cells";
import { cellBox, isNumbered } from "./layout";
import type { Pool } from "./pool";
import { nameOf } from "./pool_sentence";
import type { TablePicture } from "./tables";
import { percent, shares } from "./waste";
import { lines, whole } from "./words";

const MARGIN = 14;
const ROW = 20;
const MOST_ROWS = 40;
const LARGEST_SIDE = 8192; // pixels of an image that every browser can make

/** Draw the pool at a step for a paper or a slide. */
export function poolDrawing(pool: Pool, cells: CellPicture, tables: TablePicture, sentence: string): Drawing {
  const { layout, palette, moment } = cells;
  const { theme } = palette;
  const rows = moment.state.running.slice(0, MOST_ROWS);
  const more = moment.state.running.length - rows.length;
  const width = Math.max(640, layout.width + 2 * MARGIN);
  const down = 34;
  const words = lines(sentence, Math.floor(width / 6));
  const height = down + layout.height + 48 + ROW * (rows.length + (more ? 1 : 0)) + 16 * words.length;
  const sheet = new SvgSheet(width, height, theme.background, theme.font);
  const small = { "font-size": 11, fill: theme.muted };
  sheet.text(`KV cache, step ${moment.step}`, { x: MARGIN, y: 21, "font-size": 13, "font-weight": 600, fill: theme.foreground });
  sheet.image(cellImage(cells), { x: MARGIN, y: down, width: layout.width, height: layout.height });
  if (isNumbered(layout)) {
    for (let block = pool.facts.null_block ? 1 : 0; block < layout.count; block++) {
      const { x, y } = cellBox(layout, block);
      const width = 4 + 6 * String(block).length;
      if (needsGround(cells, block)) sheet.add("rect", { x: MARGIN + x + 1, y: down + y + 2, width, height: 13, fill: theme.background });
      sheet.text(String(block), { x: MARGIN + x + 3, y: down + y + 12.5, "font-size": 10, fill: numberColour(cells, block) });
    }
  }
  let y = down + layout.height + 18;
  const unit = pool.facts.block_size === null ? "blocks" : "token slots";
  const parts = shares(moment.use).map(({ label, slots, share }) => `${label} ${whole(slots)} (${percent(share)})`);
  sheet.text(`${unit}: ${parts.join(", ")}`, { x: MARGIN, y, ...small });
  y += 14;
  for (const sequence of rows) {
    const tone = palette.tone(sequence);
    sheet.add("rect", { x: MARGIN, y: y + 4, width: 8, height: ROW - 8, fill: tone.strong });
    sheet.text(nameOf(pool, sequence), { x: MARGIN + 14, y: y + 14, "font-size": 11, fill: theme.foreground });
    drawChips(sheet, tables, sequence, y, width);
    y += ROW;
  }
  if (more) sheet.text(`and ${more} more requests`, { x: MARGIN, y: y + 14, ...small });
  words.forEach((text, i) => sheet.text(text, { x: MARGIN, y: height - 14 - 16 * (words.length - 1 - i), ...small }));
  return sheet.drawing();
}

function drawChips(sheet: SvgSheet, { moment, layout, palette, facts }: TablePicture, sequence: number, y: number, width: number): void {
  const table = moment.state.tables.get(sequence) ?? [];
  const tone = palette.tone(sequence);
  const left = MARGIN + 150;
  const fitting = Math.floor((width - left - 40) / layout.chip);
  table.slice(0, fitting).forEach((block, i) => {
    const x = left + i * layout.chip;
    const held = moment.state.held(block);
    const share = held < 0 ? 1 : held / moment.state.blockSize;
    const isNull = facts.null_block && block === 0;
    sheet.add("rect", { x, y: y + 2, width: layout.chip - 3, height: ROW - 4, fill: isNull ? "none" : tone.weak });
    if (!isNull) sheet.add("rect", { x, y: y + ROW - 5, width: (layout.chip - 3) * share, height: 3, fill: tone.strong });
    const text = { x: x + (layout.chip - 3) / 2, y: y + 13, "font-size": 10, "text-anchor": "middle", fill: palette.theme.foreground };
    sheet.text(isNull ? "∅" : String(block), text);
  });
  const more = table.length - fitting;
  if (more > 0) sheet.text(`+${more}`, { x: left + fitting * layout.chip + 4, y: y + 13, "font-size": 10, fill: palette.theme.muted });
}

function cellImage(cells: CellPicture): HTMLCanvasElement {
  const { width, height } = cells.layout;
  const scale = Math.min(2, LARGEST_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser gives no 2D canvas");
  context.scale(scale, scale);
  paintCells(context, cells, 0, height);
  return canvas;
}
