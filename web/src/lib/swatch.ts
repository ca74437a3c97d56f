// A small sample of a mark, for a legend.

import { h } from "./dom";

/** The sample, drawn by a CSS `style`, with its meaning. */
export function swatch(style: string, meaning: string): HTMLElement {
  return h("span", {}, h("b", { class: "lw-swatch", style }), meaning);
}
