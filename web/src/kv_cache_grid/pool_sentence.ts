// What the figure says of a block, a request or a step of the pool; pure.

import { visible } from "../lib/tokens";
import type { Moment, Pool } from "./pool";
import { counted, sizeOf, whole } from "./words";

/** A block: what it holds, who holds it, what sharing it saves, what happened to it in this step. */
export function blockSentence(pool: Pool, moment: Moment, block: number): string {
  const { state, owners } = moment;
  if (block === 0 && pool.facts.null_block) return "Block 0: the null block, a placeholder that is never given out and not counted.";
  const held = state.held(block);
  const fill = held < 0 ? "" : `${held} of ${state.blockSize} tokens`;
  if (!state.inUse(block)) {
    const what = state.cached(block) ? `free, but cached: its ${counted(held, "token")} can still be found by their hash` : "free";
    return `Block ${block}: ${[what, ...happened(moment, block)].join("; ")}.`;
  }
  const names = owners.of(block).map((owner) => nameOf(pool, owner));
  const references = state.refCounts[block] ?? 0;
  const unnamed = references - names.length;
  if (unnamed > 0) names.push(counted(unnamed, "holder") + " without a table");
  const parts = [fill, references > 1 ? `shared by ${listed(names)}` : `held by ${listed(names)}`];
  if (references > 1 && held > 0) parts.push(`saves ${saved(pool, (references - 1) * held)}`);
  return `Block ${block}: ${[parts.filter(Boolean).join(", "), ...happened(moment, block)].join("; ")}.`;
}

/** One request's sequences: their blocks and tokens, or why they hold none. */
export function requestSentence(pool: Pool, moment: Moment, name: string, sequences: number[]): string {
  const { state } = moment;
  const running = sequences.filter((sequence) => state.running.includes(sequence));
  const who = visible(name, 24);
  if (!running.length) {
    if (sequences.some((sequence) => state.waiting.includes(sequence))) return `${who} waits and holds no block.`;
    return `${who} is not there at this step: it has not arrived yet, or has ended.`;
  }
  const blocks = new Set(running.flatMap((sequence) => state.tables.get(sequence) ?? []));
  if (pool.facts.null_block) blocks.delete(0);
  const shared = [...blocks].filter((block) => (state.refCounts[block] ?? 0) > 1).length;
  const parts = [`${counted(blocks.size, "block")}, ${shared} of them shared`];
  const tokens = running.map((sequence) => state.computed.get(sequence));
  if (tokens.every((count) => count !== undefined)) {
    const empty = [...blocks].reduce((sum, block) => sum + state.blockSize - state.held(block), 0);
    parts.unshift(counted(tokens.reduce((sum, count) => sum + count, 0), "token"));
    parts.push(`${counted(empty, "slot")} empty`);
  }
  const several = sequences.length > 1 ? ` (${counted(running.length, "sequence")})` : "";
  return `${who}${several}: ${parts[0]}${parts.length > 1 ? ` in ${parts.slice(1).join("; ")}` : ""}.`;
}

/** The whole pool at a step, and what changed since the step before. */
export function stepSentence(pool: Pool, moment: Moment): string {
  const { state, changes } = moment;
  const first = pool.facts.null_block ? 1 : 0;
  let [inUse, shared, savedTokens, cached] = [0, 0, 0, 0];
  for (let block = first; block < state.numBlocks; block++) {
    const references = state.refCounts[block] ?? 0;
    if (references > 0) inUse += 1;
    else if (state.cached(block)) cached += 1;
    if (references < 2) continue;
    shared += 1;
    savedTokens += (references - 1) * Math.max(0, state.held(block));
  }
  const saving = savedTokens ? `, saving ${saved(pool, savedTokens)}` : "";
  const free = cached ? `${whole(cached)} free but cached, ` : "";
  const total = state.numBlocks - first;
  const counts = `${whole(inUse)} of ${counted(total, "block")} in use (${whole(shared)} shared${saving}), ${free}${whole(total - inUse - cached)} free`;
  const moved = [
    ["taken", changes.of("Allocate").size],
    ["found in the cache", changes.of("Share").size],
    ["evicted", changes.of("Evict").size],
    ["copied", changes.of("Copy").size],
  ].filter(([, count]) => count).map(([what, count]) => `${count} ${what}`);
  const people = [["preempted", "Preempt"], ["ended", "Finish"], ["aborted", "Abort"]].map(([what = "", kind = ""]) => {
    const names = [...changes.of(kind)].map((sequence) => nameOf(pool, sequence));
    return names.length ? `${listed(names)} ${what}` : "";
  });
  const news = [moved.length ? `${moved.join(", ")} in this step` : "", ...people].filter(Boolean);
  return `${counts}${news.length ? `; ${news.join("; ")}` : ""}.`;
}

export function nameOf(pool: Pool, sequence: number): string {
  return visible(pool.facts.sequences[sequence]?.id ?? "", 20);
}

function happened({ changes }: Moment, block: number): string[] {
  const source = changes.copies.get(block);
  if (source !== undefined) return [`just copied from block ${source}, which it shared`];
  const [taken, evicted] = [changes.of("Allocate").has(block), changes.of("Evict").has(block)];
  if (taken) return [evicted ? "just taken, and what it held was evicted" : "just taken"];
  if (evicted) return ["just evicted from the cache"];
  return changes.of("Share").has(block) ? ["just found in the cache"] : [];
}

function saved(pool: Pool, tokens: number): string {
  const bytes = pool.facts.bytes_per_token;
  return counted(tokens, "token") + (bytes === null ? "" : ` (${sizeOf(tokens * bytes)})`);
}

function listed(names: string[]): string {
  const shown = names.length > 4 ? [...names.slice(0, 3), `${names.length - 3} more`] : names;
  return shown.length < 2 ? (shown[0] ?? "nobody") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}
