// Marks over the cells: the cursor, the selected block, the chain of blocks before it, one request's blocks.

import { outline } from "./cells";
import { chainOf } from "./detail";
import { type Box, cellBox, type PoolLayout } from "./layout";
import type { Palette } from "./palette";
import type { Moment } from "./pool";

export interface Marks {
  block: number | null; // under the cursor
  selected: number | null;
  sequence: number | null; // request under the cursor in the tables
}

/** Paint the marks into a window that begins `top` pixels down. */
export function paintMarks(
  context: CanvasRenderingContext2D,
  moment: Moment,
  layout: PoolLayout,
  palette: Palette,
  marks: Marks,
  top: number,
): void {
  const { foreground, background, accent } = palette.theme;
  const box = (block: number, out: number): Box => {
    const { x, y, width, height } = cellBox(layout, block);
    return { x: x - out, y: y - out, width: width + 2 * out, height: height + 2 * out };
  };
  context.save();
  context.translate(0, -top);
  const blocks = marks.sequence === null ? [] : (moment.state.tables.get(marks.sequence) ?? []);
  for (const block of blocks) outline(context, box(block, 1), foreground, 2);
  const shown = marks.block ?? marks.selected;
  if (shown !== null) paintChain(context, chainOf(moment, shown), box, palette);
  if (marks.selected !== null && marks.selected < layout.count) {
    outline(context, box(marks.selected, 2), background, 1);
    outline(context, box(marks.selected, 1), accent, 3);
  }
  if (marks.block !== null) {
    outline(context, box(marks.block, 2), background, 1);
    outline(context, box(marks.block, 1), foreground, 2);
  }
  context.restore();
}

/** A line through the middle of each block of the chain, with a spot at its beginning. */
function paintChain(context: CanvasRenderingContext2D, chain: number[], box: (block: number, out: number) => Box, palette: Palette): void {
  if (chain.length < 2) return;
  const centres = chain.map((block) => {
    const { x, y, width, height } = box(block, 0);
    return { x: x + width / 2, y: y + height / 2 };
  });
  for (const [colour, width] of [[palette.theme.background, 4], [palette.theme.accent, 2]] as const) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const { x, y } of centres) context.lineTo(x, y);
    context.stroke();
    const root = centres.at(-1);
    if (!root) return;
    context.beginPath();
    context.arc(root.x, root.y, 2 + width / 2, 0, 2 * Math.PI);
    context.fill();
  }
}
