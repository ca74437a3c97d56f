// The two charts: the score by distance, and perplexity by position.

import { axes, beyondTrained, binary, distances, linear, logarithmic, type Scale } from "./axis";
import type { Dials, View } from "./dials";
import type { Box } from "./layout";
import type { Mark } from "./marks";
import { lineStyle, type Palette } from "./palette";

const SAMPLES = 700;

export interface Curve {
  x: Scale;
  y: Scale;
  still: Mark[]; // what does not move while a distance is dragged
}

/** The distances at which a curve is computed: all near ones, then some of the far ones. */
export function sampled(farthest: number): number[] {
  const chosen = new Set<number>();
  for (let i = 0; i <= SAMPLES; i++) chosen.add(Math.round(Math.expm1((i / SAMPLES) * Math.log1p(farthest))));
  return [...chosen];
}

/** The curve of scores, with one pair's share thin below it. */
export function scoreCurve(dials: Dials, view: View, box: Box, palette: Palette): Curve {
  const at = sampled(dials.farthest);
  const scores = at.map((distance) => dials.score(view, distance));
  const pair = dials.shown(view);
  const shares = dials.hasVectors ? at.map((distance) => dials.share(view, pair, distance)) : [];
  const own = dials.facts.ropes[0]?.scaling ?? "none";
  const before = view.scaling === own || !dials.hasVectors ? [] : at.map((d) => dials.score({ ...view, scaling: own }, d));
  const all = [...scores, ...shares, ...before].filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
  const x = distances(dials.farthest, box.x, box.x + box.width);
  const y = linear(low - 0.06 * (high - low), high + 0.12 * (high - low), box.y + box.height, box.y);
  const { theme } = palette;
  const line = (values: number[], style: Mark["at"]): Mark => ({
    tag: "polyline",
    at: {
      points: values.map((value, i) => `${x.at(at[i] ?? 0).toFixed(1)},${y.at(value).toFixed(1)}`).join(" "),
      fill: "none",
      "stroke-linejoin": "round",
      ...style,
    },
  });
  const still = [
    ...axes(box, x, y, "Score (query · key, scaled) by distance", "positions from key to query (log scale)", palette),
    ...beyondTrained(box, x, dials.facts.trained_length, palette),
    ...(before.length ? [line(before, { stroke: theme.muted, "stroke-width": 1, "stroke-opacity": 0.6 })] : []),
    ...(shares.length ? [line(shares, { stroke: palette.query, "stroke-width": 1, "stroke-opacity": 0.55 })] : []),
    line(scores, { stroke: theme.foreground, "stroke-width": 1.6 }),
  ];
  return { x, y, still };
}

/** The present distance on the curve. */
export function scoreMarker(dials: Dials, view: View, curve: Curve, box: Box, palette: Palette): Mark[] {
  const [x, score] = [curve.x.at(view.distance), dials.score(view, view.distance)];
  const inside = x <= box.x + box.width + 1 && Number.isFinite(score);
  const stroke = { stroke: palette.query, "stroke-width": 1.2, "stroke-opacity": inside ? 0.7 : 0 };
  return [
    { tag: "line", at: { x1: x, x2: x, y1: box.y, y2: box.y + box.height, ...stroke } },
    {
      tag: "circle",
      at: { cx: x, cy: inside ? curve.y.at(score) : 0, r: inside ? 5 : 0, fill: palette.query, stroke: palette.theme.background, "stroke-width": 1.5 },
    },
  ];
}

/** Perplexity by position, a line a scaling, with names at their ends. */
export function lossCurve(dials: Dials, view: View, box: Box, palette: Palette): Curve | null {
  const { loss, trained_length } = dials.facts;
  if (!loss) return null;
  const perplexities = loss.loss.map((row) => row.map(Math.exp));
  const all = perplexities.flat();
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const names = 52; // room for the names at the right
  const x = binary(loss.edges.at(-1) ?? 1, box.x, box.x + box.width - names);
  const log = high / low > 5; // an explosion would press everything else flat
  const [bottom, top] = [box.y + box.height, box.y + 8];
  const y = log ? logarithmic(low / 1.25, high * 1.15, bottom, top) : linear(0, high * 1.1, bottom, top);
  const marks: Mark[] = [];
  const ends: { name: string; y: number; place: number }[] = [];
  loss.scalings.forEach((name, i) => {
    const known = dials.facts.ropes.findIndex((rope) => rope.scaling === name);
    const place = known < 0 ? i : known;
    const { colour, dash } = lineStyle(place, palette.theme);
    const chosen = name === view.scaling;
    const row = perplexities[i] ?? [];
    const points = row.map((value, bucket) => `${middle(loss.edges, bucket, x).toFixed(1)},${y.at(value).toFixed(1)}`);
    marks.push({
      tag: "polyline",
      at: { points: points.join(" "), fill: "none", stroke: colour, "stroke-width": chosen ? 3 : 1.6, "stroke-dasharray": dash, "stroke-linejoin": "round" },
    });
    ends.push({ name, y: y.at(row.at(-1) ?? 1), place });
  });
  for (const end of apart(ends)) {
    const style = { "font-size": 11, "font-weight": end.name === view.scaling ? 700 : 400, fill: lineStyle(end.place, palette.theme).colour };
    marks.push({ tag: "text", at: { x: x.at(loss.edges.at(-1) ?? 1) + 4, y: end.y + 4, ...style }, text: end.name });
  }
  const title = `Perplexity by position${log ? " (log scale)" : ""}`;
  const narrower = { ...box, width: box.width - names };
  const still = [...axes(narrower, x, y, title, "position that predicts", palette), ...beyondTrained(narrower, x, trained_length, palette), ...marks];
  return { x, y, still };
}

/** The query's position on the chart of perplexity. */
export function lossMarker(view: View, curve: Curve, box: Box, palette: Palette): Mark[] {
  const x = curve.x.at(view.position);
  const inside = x <= box.x + box.width;
  const stroke = { stroke: palette.query, "stroke-width": 1.2, "stroke-opacity": inside ? 0.7 : 0 };
  return [{ tag: "line", at: { x1: x, x2: x, y1: box.y, y2: box.y + box.height, ...stroke } }];
}

/** The bucket of a position, or -1. */
export function bucketOf(edges: number[], position: number): number {
  return edges.findIndex((edge, i) => position >= edge && position < (edges[i + 1] ?? -1));
}

function middle(edges: number[], bucket: number, x: Scale): number {
  return x.at(((edges[bucket] ?? 0) + (edges[bucket + 1] ?? 0)) / 2);
}

/** Move labels apart so that none lies on another. */
function apart<T extends { y: number }>(labels: T[], room = 13): T[] {
  const sorted = [...labels].sort((a, b) => a.y - b.y).map((label) => ({ ...label }));
  sorted.forEach((label, i) => {
    const above = sorted[i - 1];
    if (above) label.y = Math.max(label.y, above.y + room);
  });
  return sorted;
}
