// One bar of the pool's token slots, by what became of them.

import { h } from "../lib/dom";
import type { Part } from "./pool";
import { whole } from "./words";

/** Each kind of slot with its name on the page and how it is drawn; colours of the bar are classes. */
const NAMES: Record<string, [string, string]> = {
  used: ["used", "hold a token"],
  reserved: ["reserved", "empty, and filled before their request ends"],
  internal: ["internal waste", "empty, in a block that is given to a request"],
  external: ["external waste", "free, but not in a row as the next request needs them"],
  cached: ["cached", "free, but its tokens can still be found"],
  free: ["free", "free, and hold nothing"],
};

/** Parts with their share of all slots; those that are empty are left out. */
export function shares(parts: Part[]): { name: string; label: string; title: string; slots: number; share: number }[] {
  const total = parts.reduce((sum, part) => sum + part.slots, 0);
  return parts
    .filter((part) => part.slots > 0)
    .map(({ name, slots }) => {
      const [label = name, title = ""] = NAMES[name] ?? [];
      return { name, label, title, slots, share: total ? slots / total : 0 };
    });
}

/** The bar, updated in place while a run is scrubbed. */
export class WasteBar {
  readonly element: HTMLElement;
  private readonly bar = h("div", { class: "lw-kv-bar", "aria-hidden": "true" });
  private readonly legend = h("div", { class: "lw-kv-parts" });

  constructor() {
    this.element = h("div", { class: "lw-kv-waste" }, this.bar, this.legend);
  }

  /** Show the parts, in token slots or, where no block size is known, in blocks. */
  show(parts: Part[], unit: string): void {
    const drawn = shares(parts);
    this.bar.replaceChildren(
      ...drawn.map(({ name, share, title }) =>
        h("i", { class: `lw-kv-${name}`, style: `width: ${100 * share}%`, title }),
      ),
    );
    const total = parts.reduce((sum, part) => sum + part.slots, 0);
    this.legend.replaceChildren(
      h("span", {}, `${whole(total)} ${unit}:`),
      ...drawn.map(({ name, label, slots, share, title }) =>
        h("span", { title }, h("b", { class: `lw-swatch lw-kv-${name}` }), `${label} ${whole(slots)} (${percent(share)})`),
      ),
    );
  }
}

export function percent(share: number): string {
  return share > 0 && share < 0.001 ? "<0.1%" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}
