// Scales and axes of the two charts.

import { format } from "d3-format";
import type { Box } from "./layout";
import type { Mark } from "./marks";
import type { Palette } from "./palette";

export interface Scale {
  at(value: number): number; // in pixels
  invert(pixel: number): number;
  ticks: number[];
}

const whole = format(",.0f");

/** A scale on which equal steps are equal distances. */
export function linear(from: number, to: number, start: number, stop: number, count = 5): Scale {
  const span = to - from || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((size) => span / size <= count) ?? 10 * power;
  const ticks = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to + 1e-9 * span; tick += step) ticks.push(Math.abs(tick) < 1e-9 * span ? 0 : tick);
  return {
    at: (value) => start + ((value - from) / span) * (stop - start),
    invert: (pixel) => from + ((pixel - start) / (stop - start)) * span,
    ticks,
  };
}

/** Positions by powers of two, so that tick marks fall on trained lengths. */
export function binary(to: number, start: number, stop: number, room = 56): Scale {
  const scale = linear(0, to, start, stop);
  let step = 2 ** Math.ceil(Math.log2(to / Math.max(2, Math.abs(stop - start) / room)));
  step = Math.max(1, step);
  return { ...scale, ticks: Array.from({ length: Math.floor(to / step) + 1 }, (_, i) => i * step) };
}

/** log(1 + x): near distances have room, far ones are still there. */
export function distances(to: number, start: number, stop: number, room = 40): Scale {
  const span = Math.log1p(to);
  const at = (value: number): number => start + (Math.log1p(value) / span) * (stop - start);
  const ticks = [0];
  for (let tick = 1; tick <= to; tick *= 4) {
    if (at(tick) - at(ticks.at(-1) ?? 0) >= room * 0.6) ticks.push(tick);
  }
  return { at, invert: (pixel) => Math.expm1(((pixel - start) / (stop - start)) * span), ticks };
}

/** log(x), with ticks at 1, 2, 5 times powers of ten. */
export function logarithmic(from: number, to: number, start: number, stop: number): Scale {
  const [low, high] = [Math.log(from), Math.log(to)];
  const ticks = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power++) {
    for (const n of [1, 2, 5]) if (n * 10 ** power >= from && n * 10 ** power <= to) ticks.push(n * 10 ** power);
  }
  const few = ticks.length > 7 ? ticks.filter((tick) => Math.log10(tick) % 1 === 0) : ticks;
  return {
    at: (value) => start + ((Math.log(value) - low) / (high - low || 1)) * (stop - start),
    invert: (pixel) => Math.exp(low + ((pixel - start) / (stop - start)) * (high - low)),
    ticks: few,
  };
}

/** Frame, ticks and numbers of a chart, its title above and the unit of its horizontal axis below. */
export function axes(box: Box, x: Scale, y: Scale, title: string, unit: string, palette: Palette): Mark[] {
  const { theme } = palette;
  const text = { "font-size": 10.5, fill: theme.muted };
  const bottom = box.y + box.height;
  const grid = y.ticks.map((tick): Mark => {
    const at = { x1: box.x, x2: box.x + box.width, y1: y.at(tick), y2: y.at(tick), stroke: theme.border, "stroke-width": 1 };
    return { tag: "line", at };
  });
  const down = y.ticks.map((tick): Mark => {
    const at = { ...text, x: box.x - 7, y: y.at(tick) + 3.5, "text-anchor": "end" };
    return { tag: "text", at, text: (Number.isInteger(tick) ? whole(tick) : String(+tick.toFixed(2))).replace("-", "−") };
  });
  const along = x.ticks.map((tick): Mark => {
    return { tag: "text", at: { ...text, x: x.at(tick), y: bottom + 15, "text-anchor": "middle" }, text: whole(tick) };
  });
  return [
    ...grid,
    ...down,
    ...along,
    { tag: "line", at: { x1: box.x, x2: box.x + box.width, y1: bottom, y2: bottom, stroke: theme.muted, "stroke-width": 1 } },
    { tag: "text", at: { x: box.x - 38, y: box.y - 14, "font-size": 12, "font-weight": 600, fill: theme.foreground }, text: title },
    { tag: "text", at: { ...text, x: box.x + box.width / 2, y: bottom + 31, "text-anchor": "middle" }, text: unit },
  ];
}

/** The part of a chart that lies past the trained length, with its name where there is room. */
export function beyondTrained(box: Box, x: Scale, trained: number, palette: Palette): Mark[] {
  const from = Math.min(Math.max(x.at(trained), box.x), box.x + box.width);
  const roomy = from - box.x > 84; // for the name to the left of the line
  const fill = { fill: palette.beyond, "fill-opacity": 0.08 };
  return [
    { tag: "rect", at: { x: from, y: box.y, width: box.x + box.width - from, height: box.height, ...fill } },
    { tag: "line", at: { x1: from, x2: from, y1: box.y, y2: box.y + box.height, stroke: palette.beyond, "stroke-width": 1, "stroke-dasharray": "3 3" } },
    {
      tag: "text",
      at: { x: from + (roomy ? -4 : 4), y: box.y + 10, "text-anchor": roomy ? "end" : "start", "font-size": 10.5, fill: palette.theme.muted },
      text: `trained: ${whole(trained)}`,
    },
  ];
}
