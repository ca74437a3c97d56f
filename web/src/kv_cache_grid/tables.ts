// Paints the block tables: a row a running request, its blocks in the order of its tokens.

import { visible } from "../lib/tokens";
import { outline } from "./cells";
import type { Box } from "./layout";
import type { Palette } from "./palette";
import type { Moment } from "./pool";
import type { PoolFacts } from "./wire";

export const ROW = 24; // pixels

/** What lies under a point of the tables: a request, or the `index`-th block of its table. */
export interface TableSpot {
  sequence: number;
  index: number | null;
}

export interface TableLayout {
  label: number; // pixels of the column with ids, which stands still
  chip: number; // from one block to the next
  width: number;
  height: number;
}

export interface TablePicture {
  moment: Moment;
  facts: PoolFacts;
  layout: TableLayout;
  palette: Palette;
  lit: ReadonlySet<number> | null;
  selectedBlock: number | null;
  spot: TableSpot | null; // under the cursor
  block: number | null; // under the cursor, here or in the pool
}

/** Room for the tables of a moment, at least as wide as their window. */
export function tableLayout(moment: Moment, facts: PoolFacts, viewWidth: number): TableLayout {
  const longest = Math.max(0, ...facts.sequences.map(({ id }) => Math.min(16, id.length)));
  const counts = facts.block_size === null ? 0 : 34;
  const label = Math.min(Math.floor(viewWidth * 0.42), 26 + 7 * Math.max(3, longest) + counts);
  const chip = 14 + 7 * String(facts.num_blocks - 1).length;
  const most = Math.max(0, ...moment.state.running.map((sequence) => moment.state.tables.get(sequence)?.length ?? 0));
  const width = Math.max(viewWidth, label + 8 + most * chip);
  return { label, chip, width, height: moment.state.running.length * ROW };
}

export function spotAt(picture: TablePicture, x: number, y: number, scrolledBy: number): TableSpot | null {
  const sequence = picture.moment.state.running[Math.floor(y / ROW)];
  if (sequence === undefined || y < 0) return null;
  const { label, chip } = picture.layout;
  if (x - scrolledBy < label) return { sequence, index: null };
  const index = Math.floor((x - label) / chip);
  return index < (picture.moment.state.tables.get(sequence)?.length ?? 0) ? { sequence, index } : { sequence, index: null };
}

export function chipBox(layout: TableLayout, row: number, index: number): Box {
  return { x: layout.label + index * layout.chip, y: row * ROW + 2, width: layout.chip - 3, height: ROW - 4 };
}

/** Paint what is seen through the window `view`. */
export function paintTables(context: CanvasRenderingContext2D, picture: TablePicture, view: Box): void {
  const { running } = picture.moment.state;
  const first = Math.max(0, Math.floor(view.y / ROW));
  const last = Math.min(running.length, Math.ceil((view.y + view.height) / ROW));
  context.textBaseline = "middle";
  for (let row = first; row < last; row++) {
    const sequence = running[row] ?? 0;
    context.globalAlpha = picture.lit && !picture.lit.has(sequence) ? 0.35 : 1;
    paintChips(context, picture, view, row, sequence);
    paintLabel(context, picture, view, row, sequence);
  }
  context.globalAlpha = 1;
}

function paintChips(context: CanvasRenderingContext2D, picture: TablePicture, view: Box, row: number, sequence: number): void {
  const { moment, layout, palette } = picture;
  const table = moment.state.tables.get(sequence) ?? [];
  const from = Math.max(0, Math.floor((view.x - 1) / layout.chip));
  const to = Math.min(table.length, Math.ceil((view.x + view.width - layout.label) / layout.chip));
  for (let index = from; index < to; index++) {
    const box = chipBox(layout, row, index);
    paintChip(context, picture, { ...box, x: box.x - view.x, y: box.y - view.y }, table[index] ?? 0, palette.tone(sequence));
  }
}

function paintChip(context: CanvasRenderingContext2D, picture: TablePicture, box: Box, block: number, tone: { strong: string; weak: string }): void {
  const { moment, palette, facts } = picture;
  const isNull = facts.null_block && block === 0;
  const held = moment.state.held(block);
  const share = held < 0 ? 1 : held / moment.state.blockSize;
  if (!isNull) {
    context.fillStyle = tone.weak;
    context.fillRect(box.x, box.y, box.width, box.height);
    context.fillStyle = tone.strong;
    context.fillRect(box.x, box.y + box.height - 4, Math.round(box.width * share), 4);
    if ((moment.state.refCounts[block] ?? 0) > 1) context.fillRect(box.x, box.y, box.width, 2); // shared: a second bar
  }
  if (moment.changes.of("Allocate").has(block) || moment.changes.copies.has(block)) outline(context, box, palette.theme.foreground, 1);
  if (block === picture.block) outline(context, box, palette.theme.foreground, 2);
  if (block === picture.selectedBlock) outline(context, box, palette.theme.accent, 2);
  context.fillStyle = isNull ? palette.theme.muted : palette.theme.foreground;
  context.font = `11px ${palette.theme.font}`;
  context.textAlign = "center";
  context.fillText(isNull ? "∅" : String(block), box.x + box.width / 2, box.y + box.height / 2 - 0.5);
}

/** Colour, id and number of tokens, over whatever was scrolled beneath them. */
function paintLabel(context: CanvasRenderingContext2D, picture: TablePicture, view: Box, row: number, sequence: number): void {
  const { moment, facts, layout, palette, spot } = picture;
  const { theme } = palette;
  const y = row * ROW - view.y;
  const alpha = context.globalAlpha;
  context.globalAlpha = 1;
  context.fillStyle = theme.background;
  context.fillRect(0, y, layout.label - 3, ROW);
  context.globalAlpha = alpha;
  context.fillStyle = palette.tone(sequence).strong;
  context.fillRect(2, y + 5, 8, ROW - 10);
  context.textAlign = "left";
  context.fillStyle = theme.foreground;
  context.font = `12px ${theme.font}`;
  const tokens = moment.state.computed.get(sequence);
  const room = layout.label - 22 - (tokens === undefined ? 0 : 34);
  context.fillText(fitted(context, facts.sequences[sequence]?.id ?? "", room), 15, y + ROW / 2);
  if (tokens !== undefined) {
    context.textAlign = "right";
    context.fillStyle = theme.muted;
    context.font = `11px ${theme.font}`;
    context.fillText(String(tokens), layout.label - 8, y + ROW / 2);
  }
  if (spot?.sequence === sequence) outline(context, { x: 0, y: y + 1, width: layout.label - 4, height: ROW - 2 }, theme.foreground, 1);
}

/** An id as far as it fits; ids are the user's text. */
function fitted(context: CanvasRenderingContext2D, id: string, room: number): string {
  for (let most = Math.min(20, Math.max(3, Math.ceil(room / 4))); most > 2; most--) {
    const text = visible(id, most);
    if (context.measureText(text).width <= room) return text;
  }
  return visible(id, 2);
}
