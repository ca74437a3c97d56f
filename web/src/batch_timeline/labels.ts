// Texts and lines of the figure, for the canvas and for the SVG alike.

import type { Theme } from "../lib/theme";
import { visible } from "../lib/tokens";
import { type Box, columnX, type Layout, numbered, rowY } from "./layout";
import { errorColour } from "./rows";
import { limitY, slotScale, tokenScale } from "./strips";
import { type Difference, type Run, STATE } from "./timeline";
import type { Window } from "./window";

export interface Picture {
  runs: Run[];
  names: { title: string; badge: string }[];
  difference: Difference | null;
  steps: number; // of the longer run
  layout: Layout;
  window: Window;
  theme: Theme;
  /** The width of a text in CSS pixels. */
  measure(text: string, size: number): number;
}

export interface Label {
  text: string;
  x: number;
  y: number; // the middle
  anchor: "start" | "middle" | "end";
  size: number;
  weight: 400 | 600;
  colour: string;
}

export interface Line {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
  colour: string;
  dash: number[];
}

/** The numbers of the steps. */
export function stepLabels({ layout: { axis }, window, theme, steps }: Picture): Label[] {
  const plain = { y: axis.y + 11, anchor: "middle", size: 11, weight: 400, colour: theme.muted } as const;
  const cell = axis.width / window.columns;
  const made = numbered(window, axis.width, steps).map((step): Label => {
    return { ...plain, text: String(step), x: columnX(axis, window, step) + cell / 2 };
  });
  return made.filter((label) => label.x >= axis.x && label.x <= axis.x + axis.width);
}

/** Everything else that is written. */
export function labels(picture: Picture): Label[] {
  const { axis } = picture.layout;
  const plain = { size: 11, weight: 400, colour: picture.theme.muted } as const;
  const step: Label = { ...plain, text: "step", x: axis.x - 8, y: axis.y + 11, anchor: "end" };
  return [step, ...picture.runs.flatMap((run, i) => panelLabels(picture, run, i))];
}

function panelLabels(picture: Picture, run: Run, index: number): Label[] {
  const { layout, theme } = picture;
  const panel = layout.panels[index];
  const name = picture.names[index];
  if (!panel || !name) return [];
  const plain = { size: 11, weight: 400, colour: theme.muted, anchor: "end" } as const;
  const made: Label[] = [...rowLabels(picture, run, panel.rows), ...countLabels(picture, run, panel.rows)];
  if (panel.titleY !== null) {
    const facts = ` · ${run.steps} steps · ${name.badge}`;
    const room = layout.width - 16 - picture.measure(facts, 12);
    const text = shortened(name.title, room, (t) => picture.measure(t, 12)) + facts;
    made.push({ ...plain, text, x: 2, y: panel.titleY, anchor: "start", size: 12, weight: 600, colour: theme.foreground });
  }
  const edge = panel.rows.x - 8;
  const limits = [
    { box: panel.tokens, what: "tokens", limit: run.wire.max_num_batched_tokens, scale: tokenScale(run) },
    { box: panel.slots, what: edge < 66 ? "seqs" : "sequences", limit: run.wire.max_num_seqs, scale: slotScale(run) },
  ];
  for (const { box, what, limit, scale } of limits) {
    made.push({ ...plain, text: what, x: edge, y: box.y + box.height - 6 });
    made.push({ ...plain, text: limit === null ? String(scale) : String(limit), x: edge, y: limitY(box, limit ?? scale, scale) + 4 });
  }
  return made;
}

function rowLabels({ window, theme, measure, layout }: Picture, run: Run, box: Box): Label[] {
  const height = box.height / window.rows;
  const every = Math.max(1, Math.ceil(12 / height));
  const made: Label[] = [];
  for (let row = Math.ceil(window.row / every) * every; row < Math.min(run.rows.length, window.row + window.rows); row += every) {
    const y = rowY(box, window, row) + height / 2;
    if (y < box.y + 4 || y > box.y + box.height - 4) continue;
    const text = shortened(run.rows[row]?.id ?? "", layout.axis.x - 14, (t) => measure(t, 11));
    made.push({ text, x: box.x - 8, y, anchor: "end", size: 11, weight: 400, colour: theme.muted });
  }
  return made;
}

/** Token counts inside the cells that have room for them. */
function countLabels({ window, theme }: Picture, run: Run, box: Box): Label[] {
  const [cell, height] = [box.width / window.columns, box.height / window.rows];
  if (cell < 13 || height < 12) return [];
  const made: Label[] = [];
  for (let row = Math.ceil(window.row); row < Math.min(run.rows.length, Math.floor(window.row + window.rows + 0.01)); row++) {
    for (let step = Math.ceil(window.column); step + 1 <= window.column + window.columns + 0.01 && step < run.steps; step++) {
      const state = run.state(row, step);
      const text = String(run.tokensAt(row, step));
      if ((state !== STATE.prefill && state !== STATE.speculated) || cell < 6 * text.length + 4) continue;
      const x = columnX(box, window, step) + cell / 2;
      const y = rowY(box, window, row) + height / 2 + 0.5;
      const colour = theme.dark ? "#10151b" : "#ffffff";
      made.push({ text, x, y, anchor: "middle", size: 10, weight: 600, colour });
    }
  }
  return made;
}

/** Frames, limits and the first difference. */
export function lines({ runs, layout, window, theme, difference }: Picture): Line[] {
  const made: Line[] = [];
  runs.forEach((run, i) => {
    const panel = layout.panels[i];
    if (!panel) return;
    const { rows, tokens, slots } = panel;
    for (const box of [rows, tokens, slots]) {
      made.push(horizontal(box, box.y + box.height + 0.5, theme.border, []));
    }
    made.push(horizontal(rows, rows.y - 0.5, theme.border, []));
    const limits = [
      { box: tokens, limit: run.wire.max_num_batched_tokens, scale: tokenScale(run) },
      { box: slots, limit: run.wire.max_num_seqs, scale: slotScale(run) },
    ];
    for (const { box, limit, scale } of limits) {
      if (limit !== null) made.push(horizontal(box, limitY(box, limit, scale), theme.accent, [4, 3]));
    }
    const x = difference && columnX(rows, window, difference.step);
    if (x !== null && x >= rows.x && x <= rows.x + rows.width) {
      made.push({ x1: x, y1: rows.y, x2: x, y2: slots.y + slots.height, colour: errorColour(theme), dash: [5, 3] });
    }
  });
  return made;
}

function horizontal(box: Box, y: number, colour: string, dash: number[]): Line {
  return { x1: box.x, y1: y, x2: box.x + box.width, y2: y, colour, dash };
}

/** A name made visible, cut to `most` signs; its spaces stay spaces unless it has nothing else. */
export function named(text: string, most: number): string {
  const shown = visible(text, most);
  return text.trim() ? shown.replaceAll("·", " ") : shown;
}

/** A name cut, with an ellipsis, to the room there is. */
export function shortened(text: string, room: number, width: (text: string) => number): string {
  let most = Math.min(80, Math.ceil(room / 3));
  let shown = named(text, most);
  while (most > 1 && width(shown) > room) shown = named(text, --most);
  return shown;
}
