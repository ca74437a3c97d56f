// Logarithmic axes and numbers with units. Knows neither Jupyter nor the DOM.

import { format } from "d3-format";

const short = format(".3~s");

/** A number with its SI prefix and unit: 88.5 GFLOP/s. */
export function quantity(value: number, unit: string): string {
  const [, number = "", prefix = ""] = /^(.*?)([a-zA-Zµ]?)$/.exec(short(value)) ?? [];
  return `${number} ${prefix}${unit}`;
}

const digits = format(".3~g");

/** A number without prefix, three digits: 0.512, 4.63, 295, 1000. */
export function plain(value: number): string {
  return value < 999.5 ? digits(value) : String(Math.round(value));
}

/** Maps a logarithmic domain to pixels. */
export function logScale([low, high]: [number, number], [start, stop]: [number, number]): (value: number) => number {
  const span = Math.log(high / low);
  return (value) => start + ((stop - start) * Math.log(value / low)) / span;
}

/** A domain around numbers, with room at both ends as factors. */
export function around(values: number[], below: number, above: number): [number, number] {
  return [Math.min(...values) / below, Math.max(...values) * above];
}

/** Powers of ten inside a domain, at most `most` of them, evenly thinned. */
export function decades([low, high]: [number, number], most: number): number[] {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / most));
  const powers: number[] = [];
  for (let power = first; power <= last; power += step) powers.push(10 ** power);
  return powers;
}
