// The figure as an SVG sheet, for a paper or a slide: text and axes as vectors.

import { type Drawing, SvgSheet } from "../lib/download";
import type { Theme } from "../lib/theme";
import { running, visible } from "../lib/tokens";
import { type Axis, counted, type Scale, written } from "./axis";
import { axisOf, fate, rowsOf } from "./bars";
import { caption, label, partsOf } from "./draw_strip";
import type { Candidate, Facts, Step, StepsWire } from "./steps";

const WIDTH = 660;
const COLUMNS = { model: 496, fate: 552 };
const BAR = { left: 150, width: 330, top: 104, row: 22 };

interface Figure {
  sheet: SvgSheet;
  step: Step;
  stage: number;
  theme: Theme;
  small: { "font-size": number; fill: string };
}

/** Draw one step; `facts` and `wire` give the text before it. */
export function stepDrawing(step: Step, stage: number, scale: Scale, facts: Facts, wire: StepsWire, theme: Theme): Drawing {
  const rows = rowsOf(step);
  const bottom = BAR.top + BAR.row * rows.length;
  const sheet = new SvgSheet(WIDTH, bottom + 92, theme.background, theme.font);
  const figure = { sheet, step, stage, theme, small: { "font-size": 11, fill: theme.muted } };
  const strong = { "font-size": 13, "font-weight": 600, fill: theme.foreground };
  sheet.text(`Next token: step ${step.index + 1} of ${step.count}`, { ...strong, x: 12, y: 22 });
  const text = `${before(facts, wire, step.index)} ▸ ${visible(step.chosen.text, 24)}`;
  sheet.text(text, { ...figure.small, x: 12, y: 42, fill: theme.foreground });
  const line = step.stages.map((name, i) => `${name} ${counted(step.kept[i] ?? 0)}`).join(" → ");
  sheet.text(`tokens left: ${line}`, { ...figure.small, x: 12, y: 60 });
  addBars(figure, rows, axisOf(step, stage, scale));
  addStrip(figure, bottom + 18);
  const filled = `filled: after ${step.stages[stage] ?? ""}`;
  const unit = `share of 1${scale === "log" ? ", log scale" : ""}`;
  sheet.text(`bars: outline: the model's probability; ${filled}; ${unit}`, { ...figure.small, x: 12, y: bottom + 74 });
  return sheet.drawing();
}

function addBars({ sheet, step, stage, theme, small }: Figure, rows: Candidate[], axis: Axis): void {
  const top = BAR.top - 14;
  for (const { at, label } of axis.ticks) {
    sheet.text(label, { ...small, x: BAR.left + at * BAR.width, y: top, "text-anchor": "middle" });
  }
  sheet.text("model", { ...small, x: COLUMNS.model, y: top });
  sheet.text(stage === step.stages.length - 1 ? "drawn from" : "after stage", { ...small, x: COLUMNS.fate, y: top });
  rows.forEach((row, i) => {
    const y = BAR.top + BAR.row * i;
    const [model = 0, shown = 0] = [row.after[0], row.after[stage]];
    const ink = shown === 0 ? theme.muted : row === step.chosen ? theme.accent : theme.foreground;
    const text = { "font-size": 12, fill: ink, y: y + 4 };
    const weight = row === step.chosen ? 700 : 400;
    sheet.text(visible(row.text, 16), { ...text, x: BAR.left - 10, "text-anchor": "end", "font-weight": weight });
    const [filled, outline] = [axis.place(shown) * BAR.width, axis.place(model) * BAR.width];
    sheet.add("rect", { x: BAR.left, y: y - 6, width: filled, height: 12, fill: theme.accent });
    const dashes = shown === 0 ? { "stroke-dasharray": "3 2" } : {};
    sheet.add("rect", { x: BAR.left, y: y - 8, width: outline, height: 16, fill: "none", stroke: theme.muted, ...dashes });
    sheet.text(written(model), { ...text, x: COLUMNS.model });
    sheet.text(fate(step, row, stage), { ...text, x: COLUMNS.fate });
  });
}

function addStrip({ sheet, step, theme, small }: Figure, top: number): void {
  const width = WIDTH - 24;
  sheet.text(caption(step), { ...small, x: 12, y: top - 6 });
  sheet.add("rect", { x: 12, y: top, width, height: 20, fill: "none", stroke: theme.border });
  partsOf(step).forEach(({ candidate, start, share }, i) => {
    const place = { x: 12 + start * width, y: top, width: share * width, height: 20 };
    const strength = Math.max(0.12, 0.62 - 0.1 * i);
    sheet.add("rect", { ...place, fill: theme.accent, "fill-opacity": strength, stroke: theme.background });
    const middle = { x: place.x + place.width / 2, y: top + 14, "text-anchor": "middle" };
    const text = label(candidate, place.width);
    if (text) sheet.text(text, { ...small, ...middle, fill: theme.foreground });
  });
  if (step.uniform === null) return;
  const x = 12 + step.uniform * width;
  const anchor = step.uniform > 0.75 ? "end" : "start";
  const beside = { x: x + (anchor === "end" ? -5 : 5), y: top + 35, "text-anchor": anchor };
  sheet.add("rect", { x: x - 1, y: top - 4, width: 2, height: 28, fill: theme.foreground });
  sheet.text(`u = ${step.uniform.toFixed(3)}`, { ...small, ...beside, fill: theme.foreground });
}

/** The end of the text before a step, in one line. */
function before(facts: Facts, wire: StepsWire, step: number): string {
  const made = wire.chosen.slice(0, step).map((place, i) => wire.texts[i]?.[place] ?? "");
  const text = [...facts.prompt, ...made].map(running).join("").replace(/\s+/g, " ");
  return text.length > 80 ? `… ${text.slice(-78)}` : text;
}
