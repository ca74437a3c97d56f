// What the figure says in words about the place under the cursor.

import { format } from "d3-format";
import { quoted } from "../lib/tokens";
import type { HeadMap } from "./head_map";
import type { Cell, Facts } from "./paint";

const share = format(".3f");

/** The sentence for a cell of the map. */
export function cellSentence(map: HeadMap, facts: Facts, cell: Cell): string {
  const query = facts.query_positions[cell.row] ?? 0;
  const names = `${name(facts, query)} to ${name(facts, cell.column)}`;
  const where = headName(map, facts);
  if (cell.column > query) return `${names}: masked, a token cannot look at what comes after it. ${where}.`;
  const window_ = facts.windows[facts.layers.indexOf(map.layer)];
  if (window_ && cell.column <= query - window_) {
    return `${names}: outside the sliding window of ${window_} tokens. ${where}.`;
  }
  const weight = share(map.weight(cell.row, cell.column));
  const pool = map.pooled ? `at most ${weight} in this block of ${map.poolRows} × ${map.poolColumns}` : weight;
  return `From ${names}: weight ${pool}. ${where}.`;
}

/** The sentence for rows that are pinned. */
export function pinnedSentence(map: HeadMap, facts: Facts, rows: number[], column: number, sum: number): string {
  const who = rows.length === 1 ? "1 pinned token gives" : `${rows.length} pinned tokens together give`;
  return `${who} ${name(facts, column)} ${share(sum)} of at most ${rows.length}. ${headName(map, facts)}.`;
}

/** The sentence when nothing is under the cursor. */
export function restSentence(map: HeadMap, facts: Facts): string {
  if (facts.edited !== null) return editSentence(facts, facts.edited);
  const rows = facts.query_positions.length;
  // The first token has only itself to look at: its 1.000 would say nothing.
  const first = facts.query_positions[0] === 0 && rows > 1 ? 1 : 0;
  const best = map.strongest(first, rows, facts.tokens.length);
  const query = facts.query_positions[best.row] ?? 0;
  const strongest = `strongest weight ${share(best.weight)}, from ${name(facts, query)} to ${name(facts, best.column)}`;
  return `${headName(map, facts)}: ${strongest}. Point at the map, or use the arrow keys.`;
}

/** Layer, head and the KV head that it reads. */
export function headName(map: HeadMap, facts: Facts): string {
  const kvHead = facts.kv_heads[facts.heads.indexOf(map.head)] ?? map.head;
  return `Layer ${map.layer}, head ${map.head} reads KV head ${kvHead}`;
}

/** The share that the first token takes from the later rows, on average: an attention sink if it is large. */
export function sinkShare(map: HeadMap, facts: Facts): number {
  let [sum, rows] = [0, 0];
  facts.query_positions.forEach((position, row) => {
    if (position === 0) return;
    sum += map.weight(row, 0);
    rows += 1;
  });
  return rows ? sum / rows : 0;
}

function editSentence(facts: Facts, edited: number): string {
  const moved = facts.query_positions.filter((_, row) => (facts.moved[row] ?? 0) > 0);
  const still = facts.query_positions.filter((position, row) => position < edited && !facts.moved[row]).length;
  const first = moved[0] ?? edited;
  const which = moved.length ? `the outputs of ${moved.length} positions moved, the first is ${first}` : "no output moved";
  return `Position ${edited} was edited: ${which}; ${still} of the ${edited} positions before it stayed exactly equal.`;
}

function name(facts: Facts, position: number): string {
  return `${quoted(facts.tokens[position] ?? "")} (${position})`;
}
