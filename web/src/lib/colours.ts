// Colour-blind-safe colours of weights: light to dark on a light page, dark to light on a dark one.

import { interpolateRgbBasis } from "d3-interpolate";
import { halfToNumber } from "./arrays";

export type Scale = "sqrt" | "linear";

// ColorBrewer's YlGnBu and Matplotlib's magma. Named here one by one: d3-scale-chromatic brings all ramps at once.
const LIGHT = interpolateRgbBasis(
  ["#fbfdf0", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494", "#081d58"],
);
const DARK = interpolateRgbBasis(
  ["#120d2c", "#231151", "#4f127b", "#822681", "#b5367a", "#e55064", "#fb8861", "#fec287", "#fcfdbf"],
);

/** The place of a share from 0 to 1 on the ramp. */
export function place(share: number, scale: Scale): number {
  const inside = Math.min(1, Math.max(0, share || 0));
  return scale === "sqrt" ? Math.sqrt(inside) : inside;
}

/** RGBA pixels (little-endian) for every float16 bit pattern, so that painting is one look-up a cell. */
export function pixelTable(scale: Scale, dark: boolean): Uint32Array {
  const steps = Uint32Array.from({ length: 1024 }, (_, i) => {
    const [red = 0, green = 0, blue = 0] = (ramp(i / 1023, dark).match(/\d+/g) ?? []).map(Number);
    return (255 << 24) | (blue << 16) | (green << 8) | red;
  });
  return Uint32Array.from({ length: 65536 }, (_, bits) => {
    return steps[Math.round(1023 * place(halfToNumber(bits), scale))] ?? 0;
  });
}

/** A CSS gradient of the ramp. */
export function gradient(dark: boolean): string {
  const stops = Array.from({ length: 9 }, (_, i) => ramp(i / 8, dark));
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

function ramp(at: number, dark: boolean): string {
  return (dark ? DARK : LIGHT)(at);
}
