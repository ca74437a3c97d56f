// A roofline as vectors: on the page and as a download.

import { type Drawing, SvgSheet } from "../lib/download";
import type { Theme } from "../lib/theme";
import type { Line } from "./labels";
import type { Mark, Scene } from "./scene";

/** Colours of the two phases; their shapes differ too. */
export function phaseColour(phase: string, theme: Theme): string {
  if (phase === "prefill") return theme.dark ? "#fdba74" : "#c2410c";
  return theme.accent;
}

/** Draw a scene, with a ring around the step under the cursor and one around the pinned step. */
export function drawScene(scene: Scene, theme: Theme, rings: (number | null)[], title: string): Drawing {
  const head = title ? 26 : 0;
  const sheet = new SvgSheet(scene.width, scene.height + head, theme.background, theme.font);
  if (title) sheet.text(title, { x: 12, y: 18, fill: theme.foreground, "font-size": 13, "font-weight": 600 });
  const { plot } = scene;
  const bottom = plot.y + plot.height + head;
  const line = (at: Line, attributes: Record<string, string | number>): void =>
    sheet.add("line", { x1: at.x1, y1: at.y1 + head, x2: at.x2, y2: at.y2 + head, ...attributes });

  for (const tick of scene.xTicks) {
    sheet.add("line", { x1: tick.at, y1: plot.y + head, x2: tick.at, y2: bottom, stroke: theme.border, "stroke-opacity": 0.6 });
    sheet.text(tick.text, { x: tick.at, y: bottom + 15, "text-anchor": "middle", "font-size": 11, fill: theme.muted });
  }
  for (const tick of scene.yTicks) {
    const y = tick.at + head;
    sheet.add("line", { x1: plot.x, y1: y, x2: plot.x + plot.width, y2: y, stroke: theme.border, "stroke-opacity": 0.6 });
    sheet.text(tick.text, { x: plot.x - 6, y: y + 4, "text-anchor": "end", "font-size": 11, fill: theme.muted });
  }
  sheet.add("rect", { x: plot.x, y: plot.y + head, width: plot.width, height: plot.height, fill: "none", stroke: theme.border });
  const axis = { "font-size": 11.5, fill: theme.foreground };
  sheet.text("FLOP/s", { x: 4, y: 14 + head, ...axis });
  sheet.text("operational intensity, FLOP/byte", { x: plot.x + plot.width, y: bottom + 33, "text-anchor": "end", ...axis });

  for (const roof of scene.roofs) {
    const style = roof.own
      ? { stroke: theme.muted, "stroke-width": 1.2 }
      : { stroke: theme.foreground, "stroke-width": 2, "stroke-linecap": "round" };
    for (const part of roof.lines) line(part, style);
    if (roof.own) continue;
    const down = { x1: roof.ridge.x, y1: roof.ridge.y, x2: roof.ridge.x, y2: plot.y + plot.height };
    line(down, { stroke: theme.muted, "stroke-dasharray": "3 4" });
  }
  for (const mark of scene.faint) drawMark(sheet, mark, head, theme, 0.35);
  for (const mark of scene.marks) {
    const colour = phaseColour(mark.phase, theme);
    if (mark.ran) {
      line({ x1: mark.x, y1: mark.y, x2: mark.x, y2: mark.boundY }, { stroke: colour, "stroke-width": 1 });
      sheet.add("circle", { cx: mark.x, cy: mark.boundY + head, r: 2.5, fill: theme.background, stroke: colour, "stroke-width": 1.2 });
    }
    drawMark(sheet, mark, head, theme, 1);
  }
  for (const mark of scene.marks.filter((candidate) => rings.includes(candidate.step))) {
    const pinned = rings[1] === mark.step ? "none" : "2 2";
    sheet.add("circle", { cx: mark.x, cy: mark.y + head, r: 10, fill: "none", stroke: theme.foreground, "stroke-width": 1.5, "stroke-dasharray": pinned });
  }
  for (const { text, box } of scene.labels) {
    // The halo keeps a label readable where a line passes behind it.
    const halo = { stroke: theme.background, "stroke-width": 3, "paint-order": "stroke", "stroke-linejoin": "round" };
    sheet.text(text, { class: "lw-label", x: box.x, y: box.y + 11 + head, "font-size": 11, fill: theme.foreground, ...halo });
  }
  return sheet.drawing();
}

/** A circle for decode, a square for prefill; filled if it ran. */
function drawMark(sheet: SvgSheet, mark: Mark, head: number, theme: Theme, opacity: number): void {
  const colour = phaseColour(mark.phase, theme);
  const style = { fill: mark.ran ? colour : theme.background, stroke: colour, "stroke-width": 1.6, opacity };
  const y = mark.y + head;
  if (mark.phase === "prefill") sheet.add("rect", { x: mark.x - 4.5, y: y - 4.5, width: 9, height: 9, ...style });
  else sheet.add("circle", { cx: mark.x, cy: y, r: 5, ...style });
}
