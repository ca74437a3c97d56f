// The prediction against the measurement, as vectors: on the page and as a download.

import { type Drawing, SvgSheet } from "../lib/download";
import type { Theme } from "../lib/theme";
import { visible } from "../lib/tokens";
import { along, barHeights, type Bars, domain, type Facts, labelStep, revealed, written } from "./layout";

const PAD = 14;
const BAR_HEIGHT = 90;

/** Draw choices or a number line, and below them the measurement in detail. */
export function predictionDrawing(facts: Facts, bars: Bars | null, theme: Theme, width: number, titled: boolean): Drawing {
  const head = titled ? 26 : 0;
  const marks = facts.choices.length ? facts.choices.length * 24 + 8 : 74;
  const shown = revealed(facts) ? bars : null;
  const sheet = new SvgSheet(width, head + marks + (shown ? BAR_HEIGHT + 52 : 0), theme.background, theme.font);
  if (titled) sheet.text(facts.question, { x: PAD, y: 18, fill: theme.foreground, "font-size": 13, "font-weight": 600 });
  if (facts.choices.length) drawChoices(sheet, facts, theme, head);
  else drawLine(sheet, facts, theme, head);
  if (shown) drawBars(sheet, shown, theme, head + marks);
  return sheet.drawing();
}

function drawChoices(sheet: SvgSheet, facts: Facts, theme: Theme, top: number): void {
  facts.choices.forEach((choice, i) => {
    const y = top + 16 + i * 24;
    const yours = choice === facts.answer;
    const right = revealed(facts) && choice === facts.measured;
    if (right) {
      const box = { x: PAD - 8, y: y - 14, width: sheet.width - 2 * PAD + 16, height: 21, rx: 5 };
      sheet.add("rect", { ...box, fill: "none", stroke: theme.accent, "stroke-width": 1.5 });
    }
    sheet.add("circle", { cx: PAD + 4, cy: y - 4, r: 5, fill: yours ? theme.foreground : "none", stroke: theme.foreground });
    const notes = [yours ? "your prediction" : "", right ? facts.source : ""].filter(Boolean).join(" = ");
    const style = { fill: right ? theme.accent : theme.foreground, "font-size": 13, "font-weight": right ? 600 : 400 };
    sheet.text(choice, { x: PAD + 18, y, ...style });
    const place = { x: sheet.width - PAD, y, "text-anchor": "end" };
    if (notes) sheet.text(notes, { ...place, fill: right ? theme.accent : theme.muted, "font-size": 12 });
  });
}

function drawLine(sheet: SvgSheet, facts: Facts, theme: Theme, top: number): void {
  const said = typeof facts.answer === "number" ? facts.answer : null;
  const found = revealed(facts) && typeof facts.measured === "number" ? facts.measured : null;
  const range = domain([said, found].filter((value) => value !== null));
  const length = sheet.width - 2 * PAD;
  const y = top + 38;
  sheet.add("line", { x1: PAD, y1: y, x2: PAD + length, y2: y, stroke: theme.border, "stroke-width": 2 });
  const zero = PAD + along(0, range, length);
  sheet.add("line", { x1: zero, y1: y - 5, x2: zero, y2: y + 5, stroke: theme.muted });
  sheet.text("0", { x: zero, y: y + 18, "text-anchor": "middle", "font-size": 11, fill: theme.muted });
  const mark = (value: number, text: string, colour: string, above: boolean): void => {
    const x = PAD + along(value, range, length);
    const anchor = x < sheet.width / 3 ? "start" : x > (2 * sheet.width) / 3 ? "end" : "middle";
    const tip = above ? y - 12 : y + 12;
    sheet.add("path", { d: `M${x} ${y}L${x - 6} ${tip}H${x + 6}Z`, fill: colour });
    const place = { x, y: above ? y - 18 : y + 28, "text-anchor": anchor, "font-size": 13 };
    sheet.text(`${text}: ${written(value, facts.unit)}`, { ...place, fill: colour });
  };
  if (said !== null) mark(said, "your prediction", theme.foreground, true);
  if (found !== null) mark(found, facts.source, theme.accent, false);
}

function drawBars(sheet: SvgSheet, bars: Bars, theme: Theme, top: number): void {
  const length = sheet.width - 2 * PAD;
  const slot = length / bars.values.length;
  const base = top + BAR_HEIGHT + 18;
  const step = labelStep(bars.values.length, length);
  sheet.text(bars.unit, { x: PAD, y: top + 12, fill: theme.muted, "font-size": 11 });
  barHeights(bars.values, BAR_HEIGHT - 18).forEach((height, i) => {
    const x = PAD + i * slot;
    const middle = x + slot / 2;
    const inside = { x: x + slot * 0.15, width: slot * 0.7 };
    if (height) sheet.add("rect", { ...inside, y: base - height, height, fill: theme.accent });
    if (i % step) return;
    const value = bars.values[i] ?? 0;
    const text = { x: middle, "text-anchor": "middle", "font-size": 11 };
    const number = value ? String(Number(value.toPrecision(2))) : "0";
    sheet.text(number, { ...text, y: base - height - 4, fill: height ? theme.accent : theme.foreground });
    sheet.text(`${i}`, { ...text, y: base + 13, fill: theme.muted });
    const label = visible(bars.labels[i] ?? "", 7);
    if (label !== String(i)) sheet.text(label, { ...text, y: base + 27, fill: theme.foreground });
  });
  sheet.add("line", { x1: PAD, y1: base, x2: PAD + length, y2: base, stroke: theme.border });
}
