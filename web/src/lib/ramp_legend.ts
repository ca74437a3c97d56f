// The legend of a colour ramp: a gradient with ticks, and swatches beside it.

import { gradient, place, type Scale } from "./colours";
import { h } from "./dom";

export const TICKS = [0, 0.1, 0.25, 0.5, 1];

/** A ramp from 0 to 1 with ticks at their places under the scale. */
export function rampLegend(unit: string, scale: Scale, dark: boolean): HTMLElement {
  const ramp = h("span", { class: "lw-ramp", style: `background: ${gradient(dark)}` });
  const ticks = TICKS.map((tick) => h("i", { style: `left: ${100 * place(tick, scale)}%` }, String(tick)));
  return h("span", {}, unit, h("span", { class: "lw-ramp-box" }, ramp, h("span", { class: "lw-ticks" }, ...ticks)));
}

export { swatch } from "./swatch";
