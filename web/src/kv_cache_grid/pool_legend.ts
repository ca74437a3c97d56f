// The legend of the pool, with its units.

import { h } from "../lib/dom";
import { swatch } from "../lib/swatch";
import type { Palette } from "./palette";
import type { Pool } from "./pool";
import { counted, sizeOf } from "./words";

const RING = "border: 1.5px solid var(--lw-fg)";

export function poolLegend({ facts, isRun }: Pool, palette: Palette): HTMLElement[] {
  const [first, second] = [palette.tone(0), palette.tone(1)];
  const block = facts.block_size === null ? "1 cell = 1 block" : `1 cell = 1 block = ${counted(facts.block_size, "token slot")}`;
  const bytes = facts.bytes_per_token === null ? "" : ` (${sizeOf(facts.bytes_per_token * (facts.block_size ?? 1))})`;
  const halves = `linear-gradient(to right, ${first.strong} 50%, ${second.strong} 50%)`;
  const part = `linear-gradient(to top, ${first.strong} 40%, ${first.weak} 40%)`;
  const marks = [
    swatch(`background: ${first.strong}`, "a request's colour"),
    swatch(`background: ${halves}`, "shared, ×references"),
    swatch(`background: ${part}; border: 1px solid ${first.strong}`, "partly filled"),
    swatch("border: 1px solid var(--lw-border)", "free"),
  ];
  const history = [
    swatch("border: 1px solid var(--lw-border); background: repeating-linear-gradient(135deg, var(--lw-muted) 0 1px, transparent 1px 4px)", "free, cached"),
    swatch(RING, "just taken"),
    swatch("border: 1.5px dotted var(--lw-fg)", "just found"),
    swatch(`border: 1.5px dashed ${palette.orange}`, "just evicted"),
  ];
  return [h("span", {}, block + bytes), ...marks, ...(isRun ? history : [])];
}
