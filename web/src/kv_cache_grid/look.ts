// How a block looks, whatever its size: lit or not, how full, what ring; pure.

import type { CellPicture } from "./cells";
import type { Changes } from "./steps";

export type Ring = "copied" | "evicted" | "taken" | "found";

// The most telling comes first: a block that was evicted was taken too.
const RINGS: [Ring, string][] = [["copied", "Copy"], ["evicted", "Evict"], ["taken", "Allocate"], ["found", "Share"]];

/** The blocks that something happened to since the step before, with what is told of it. */
export function ringedBlocks(changes: Changes): Map<number, Ring> {
  const ringed = new Map<number, Ring>();
  for (const [ring, kind] of RINGS) {
    for (const block of changes.of(kind)) if (!ringed.has(block)) ringed.set(block, ring);
  }
  return ringed;
}

/** Whether a block stands out: all do, unless a request is selected that does not hold it. */
export function isLit({ lit, moment: { state, owners } }: CellPicture, block: number): boolean {
  if (!lit) return true;
  if (!state.inUse(block)) return false;
  for (let i = 0; i < owners.count(block); i++) if (lit.has(owners.at(block, i))) return true;
  return false;
}

/** How much of a block is filled, from 0 to 1; all of it where that is not known. */
export function share({ moment: { state } }: CellPicture, block: number): number {
  const held = state.held(block);
  return held < 0 ? 1 : held / state.blockSize;
}
