// The numbers of the steps, above all panels; those of marked steps stand out.

import type { Theme } from "../lib/theme";
import { drawLabel } from "./draw";
import { type Picture, stepLabels } from "./labels";
import { columnX } from "./layout";
import type { Marks } from "./paint";
import { errorColour } from "./rows";

type Context = CanvasRenderingContext2D;

interface Pill {
  text: string;
  x: number; // its middle
  width: number;
  colour: string;
}

/** Paint the numbers; one that a pill would cover in part is left out. */
export function paintAxis(context: Context, picture: Picture, marks: Marks): void {
  const { layout, theme, measure } = picture;
  const pills = stepPills(picture, marks);
  for (const label of stepLabels(picture)) {
    const half = measure(label.text, label.size) / 2;
    if (!pills.some(({ x, width }) => Math.abs(x - label.x) < half + width / 2 + 6)) drawLabel(context, label, theme);
  }
  for (const pill of pills) paintPill(context, pill, layout.axis.y + 11, theme);
}

function stepPills({ layout: { axis }, window, theme, measure, difference }: Picture, { step, cursor }: Marks): Pill[] {
  const pill = (column: number, colour: string, sign = ""): Pill[] => {
    if (column + 1 <= window.column || column >= window.column + window.columns) return [];
    const text = `${sign}${column}`;
    const width = measure(text, 11);
    return [{ text, width, colour, x: Math.max(axis.x + width / 2, columnX(axis, window, column + 0.5)) }];
  };
  const [here] = pill(step, theme.accent);
  const [odd] = difference ? pill(difference.step, errorColour(theme), "≠ ") : [];
  if (here && odd) {
    const least = (here.width + odd.width) / 2 + 10;
    if (Math.abs(odd.x - here.x) < least) odd.x = here.x + least; // its dashed line shows the place itself
  }
  const under = cursor && cursor.column !== step ? pill(cursor.column, theme.muted) : [];
  return [odd, here, ...under].filter((made) => made !== undefined);
}

/** A text on a rounded ground. */
export function paintPill(context: Context, { text, x, width, colour }: Pill, y: number, theme: Theme): void {
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(x - width / 2 - 4, y - 8, width + 8, 16, 4);
  context.fill();
  const ink = theme.dark ? "#10151b" : "#ffffff";
  drawLabel(context, { text, x, y, anchor: "middle", size: 11, weight: 600, colour: ink }, theme);
}
