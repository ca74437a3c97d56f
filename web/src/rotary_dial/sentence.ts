// What the figure says in words.

import { format } from "d3-format";
import { quoted } from "../lib/tokens";
import { bucketOf } from "./chart_marks";
import { degrees, positions, signed } from "./dial_marks";
import type { Dials, View } from "./dials";

const whole = format(",.0f");
const written = (value: number): string => value.toFixed(2).replace("-", "−");

/** The sentence when nothing is under the cursor: the two positions, and what follows from them. */
export function restSentence(dials: Dials, view: View): string {
  const { facts } = dials;
  const apart = `${whole(view.distance)} apart`;
  const who = dials.hasVectors
    ? `Query of ${token(facts.tokens, view.query)} at position ${whole(view.position)}, key of ${token(facts.tokens, view.key)} at ${whole(view.position - view.distance)}: ${apart}`
    : `Query at position ${whole(view.position)}, key at ${whole(view.position - view.distance)}: ${apart}`;
  const score = dials.score(view, view.distance);
  const scored = Number.isFinite(score) ? `${who}, score ${written(score)}` : who;
  return `${scored}. ${consequence(dials, view)}`;
}

/** The sentence for a dial. */
export function dialSentence(dials: Dials, view: View, pair: number): string {
  const omega = dials.omega(pair, view.scaling, view.position + 1);
  const reach = dials.reach(pair);
  const trained = reach >= 2 * Math.PI ? "training saw every angle" : `training reached ${degrees(reach)}`;
  const share = dials.hasVectors ? `, which adds ${signed(dials.share(view, pair, view.distance))} of the score ${written(dials.score(view, view.distance))}` : "";
  return (
    `Pair ${pair + 1} of ${dials.pairs}: one turn takes ${positions(omega)} positions, so ${whole(view.distance)} apart ` +
    `is ${degrees(view.distance * omega)} between the hands${share}; ${trained}.`
  );
}

/** The sentence for a bucket of positions. */
export function lossSentence(dials: Dials, position: number): string | null {
  const { loss } = dials.facts;
  if (!loss) return null;
  const bucket = bucketOf(loss.edges, position);
  if (bucket < 0) return null;
  const values = loss.scalings.map((name, i) => `${written(Math.exp(loss.loss[i]?.[bucket] ?? 0))} with ${name}`);
  const [from, to] = [loss.edges[bucket] ?? 0, (loss.edges[bucket + 1] ?? 1) - 1];
  return `Positions ${whole(from)} to ${whole(to)}: perplexity ${values.join(", ")}.`;
}

function consequence(dials: Dials, view: View): string {
  const { facts } = dials;
  const beyond = Array.from({ length: dials.pairs }, (_, pair) => pair).filter((pair) => dials.unreached(pair, view)).length;
  if (beyond) {
    const pairs = beyond === 1 ? "1 pair stands" : `${beyond} of ${dials.pairs} pairs stand`;
    return `${pairs} at an angle that training never reached.`;
  }
  if (view.distance >= facts.trained_length) {
    return `That is past the trained ${whole(facts.trained_length)}, yet no angle between hands is new to the model.`;
  }
  if (facts.shift_change !== null && facts.largest_shift !== null) {
    return `Shift both: every hand turns, no angle between them does. Measured over shifts up to ${whole(facts.largest_shift)}, no score moved by more than ${small(facts.shift_change)}.`;
  }
  return "Shift both: every hand turns, no angle between them does.";
}

function small(value: number): string {
  return value === 0 ? "0" : value < 1e-5 ? value.toExponential(0).replace("e-", "e−") : format(".1~r")(value);
}

function token(tokens: string[], index: number): string {
  return `${quoted(tokens[index] ?? "", 16)} (${index})`;
}
