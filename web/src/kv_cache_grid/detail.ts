// Below the pool: the tokens of one block, its hash and the block before it. Text reaches the page as text nodes.

import { h } from "../lib/dom";
import { visible } from "../lib/tokens";
import type { Moment, Pool } from "./pool";
import { NONE } from "./state";

const CHAIN = 400; // blocks that a chain is followed back

/** The block before in the sequence; null for the first, or if it can no longer be found. */
export function parentOf({ state, owners }: Moment, block: number): number | null {
  const owner = owners.of(block)[0];
  if (owner !== undefined) {
    const table = state.tables.get(owner) ?? [];
    return table[table.indexOf(block) - 1] ?? null;
  }
  const parent = state.parents[block] ?? NONE;
  const found = parent === NONE ? -1 : state.hashes.indexOf(parent);
  return found < 0 ? null : found;
}

/** The block and those before it, the nearest first. */
export function chainOf(moment: Moment, block: number): number[] {
  const chain = [block];
  while (chain.length < CHAIN) {
    const parent = parentOf(moment, chain.at(-1) ?? 0);
    if (parent === null || chain.includes(parent)) break;
    chain.push(parent);
  }
  return chain;
}

/** The parts that tell of a block; of none, what there is to point at. */
export function detailParts(pool: Pool, moment: Moment, block: number | null, texts: Record<string, string>): HTMLElement[] {
  if (block === null) return [h("span", { class: "lw-kv-hint" }, "Point at a block to see its tokens, its hash and the block before it.")];
  const title = h("b", {}, block === 0 && pool.facts.null_block ? "null block" : `block ${block}`);
  return [title, h("span", {}, hashOf(pool, moment, block)), h("span", { class: "lw-kv-tokens" }, ...tokenParts(pool, moment, block, texts))];
}

function hashOf(pool: Pool, { state, owners }: Moment, block: number): string {
  if (!pool.hash(0) || (block === 0 && pool.facts.null_block)) return "";
  if (!state.cached(block)) return state.held(block) ? "no hash: it cannot be found by its tokens" : "";
  const hash = `hash ${pool.hash(state.hashes[block] ?? NONE)}`;
  const parent = state.parents[block] ?? NONE;
  if (parent === NONE) return `${hash}, first of its sequence`;
  const before = parentOf({ state, owners } as Moment, block);
  const where = before === null ? "a block that is not cached any more" : `block ${before}`;
  return `${hash}, after ${where} (${pool.hash(parent)})`;
}

function tokenParts(pool: Pool, moment: Moment, block: number, texts: Record<string, string>): HTMLElement[] {
  const tokens = [...(pool.tokens(moment.state, block) ?? [])];
  const madeUp = tokens.some((token) => token < 0) ? [h("span", { class: "lw-kv-hint" }, "(below 0: made up by simulate)")] : [];
  const parts = tokens.map((token) => {
    const text = texts[String(token)];
    return text === undefined ? h("i", {}, String(token)) : h("i", { class: "lw-kv-text", title: String(token) }, visible(text, 16));
  });
  return [...parts, ...madeUp];
}
