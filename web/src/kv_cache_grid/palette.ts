// Colours of the pool: one a request, the same in every widget, mixed with the page's own for lighter parts.

import { requestColour } from "../lib/request_colours";
import { luminance, type Theme } from "../lib/theme";
import type { Sequence } from "./wire";

/** The colours of one sequence. */
export interface Tone {
  strong: string; // where tokens are
  weak: string; // the block's empty part
  ink: string; // text on `strong`
}

const CHILD_SHADES = [0, 0.28, 0.14, 0.42]; // how much of the page's colour a child's own gets

export class Palette {
  readonly orange: string; // evicted
  private readonly tones = new Map<number, Tone>();

  constructor(
    readonly theme: Theme,
    private readonly sequences: Sequence[],
  ) {
    this.orange = theme.dark ? "#fdba74" : "#c2410c";
  }

  tone(sequence: number): Tone {
    const known = this.tones.get(sequence);
    if (known) return known;
    const { theme } = this;
    const { place, child } = this.sequences[sequence] ?? { place: 0, child: 0 };
    const shade = CHILD_SHADES[child % CHILD_SHADES.length] ?? 0;
    const strong = mixed(requestColour(place, theme.dark), theme.background, shade);
    const weak = mixed(strong, theme.background, 0.78);
    const ink = luminance(strong) > 0.4 ? "#111418" : "#ffffff";
    const tone = { strong, weak, ink };
    this.tones.set(sequence, tone);
    return tone;
  }

  /** The colour of a holder that no table names. */
  get unknown(): Tone {
    const { muted, background } = this.theme;
    return { strong: muted, weak: mixed(muted, background, 0.78), ink: background };
  }

  /** The fill of a block that is free, but can still be found by its tokens. */
  get cached(): string {
    return mixed(this.theme.muted, this.theme.background, 0.72);
  }
}

/** `colour` with a share of `other` in it. */
export function mixed(colour: string, other: string, share: number): string {
  const [a, b] = [channels(colour), channels(other)];
  const [red, green, blue] = a.map((value, i) => Math.round(value + (b[i]! - value) * share));
  return `rgb(${red}, ${green}, ${blue})`;
}

/** Red, green and blue from 0 to 255 of `#rrggbb`, `rgb(...)` or `color(srgb ...)`. */
export function channels(colour: string): [number, number, number] {
  if (colour.startsWith("#")) {
    const number = parseInt(colour.slice(1), 16);
    return [number >> 16, (number >> 8) & 255, number & 255];
  }
  const scale = colour.startsWith("color(") ? 255 : 1;
  const [red = 128, green = 128, blue = 128] = (colour.match(/[\d.]+/g) ?? []).map((part) => scale * Number(part));
  return [red, green, blue];
}
