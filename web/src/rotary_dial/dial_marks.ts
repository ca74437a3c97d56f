// The dials: two hands on each, the angle between them, and the part of the turn that training reached.

import { format } from "d3-format";
import type { Dials, View } from "./dials";
import { type Dial, type Layout, LINE, onDial } from "./layout";
import type { Mark } from "./marks";
import type { Palette } from "./palette";

const TURN = 2 * Math.PI;
const round = format(",.0f");

/** Every dial, with `pointed` (under the cursor) and the one that is shown large marked. */
export function dialMarks(dials: Dials, view: View, layout: Layout, palette: Palette, pointed: number | null): Mark[] {
  const marks: Mark[] = [];
  const most = Math.max(...layout.dials.map((_, pair) => dials.amplitude(view, pair)), 1e-9);
  layout.dials.forEach((dial, pair) => {
    const weight = dials.hasVectors ? dials.amplitude(view, pair) / most : 1;
    marks.push(...oneDial(dials, view, dial, pair, palette, weight));
    const chosen = pair === view.pair || pair === pointed;
    marks.push(outline(dial, chosen ? palette.theme.foreground : "none", pair === view.pair ? 2 : 1));
    marks.push(label(dial, dials, view, pair, palette));
  });
  return marks;
}

/** The large dial with what it shows in words. */
export function largeDialMarks(dials: Dials, view: View, layout: Layout, palette: Palette, pointed: number | null): Mark[] {
  const pair = pointed ?? dials.shown(view);
  const { theme } = palette;
  const omega = dials.omega(pair, view.scaling, view.position + 1);
  const lines: [string, string][] = [
    [`pair ${pair + 1} of ${dials.pairs}`, theme.foreground],
    [`one turn: ${positions(omega)} positions`, theme.muted],
    [`between the hands: ${degrees(view.distance * omega)}`, dials.unreached(pair, view) ? palette.beyond : theme.muted],
  ];
  if (dials.hasVectors) lines.push([`adds ${signed(dials.share(view, pair, view.distance))} to the score`, theme.muted]);
  const { x, y } = layout.words;
  const words = lines.map(([text, fill], i): Mark => {
    const at = { x, y: y + LINE * i, fill, "text-anchor": "middle", "font-size": 12, "font-weight": i ? 400 : 600 };
    return { tag: "text", at, text };
  });
  return [...oneDial(dials, view, layout.large, pair, palette, 1), ...words];
}

/** How many positions one turn takes, written short. */
export function positions(omega: number): string {
  const turn = TURN / Math.abs(omega);
  if (!Number.isFinite(turn)) return "∞";
  if (turn >= 999_500) return `${(turn / 1e6).toFixed(1)}M`;
  return turn < 100 ? format(".2~r")(turn) : turn < 10_000 ? round(turn) : `${round(turn / 1000)}k`;
}

/** An angle in degrees within one turn. */
export function degrees(angle: number): string {
  const within = (((angle % TURN) + TURN) % TURN) * (360 / TURN);
  return `${within < 10 ? within.toFixed(1) : within.toFixed(0)}°`;
}

export function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

function oneDial(dials: Dials, view: View, dial: Dial, pair: number, palette: Palette, weight: number): Mark[] {
  const { theme } = palette;
  const omega = dials.omega(pair, view.scaling, view.position + 1);
  const [query, key] = [view.position * omega, (view.position - view.distance) * omega];
  const between = view.distance * omega;
  const reach = dials.reach(pair);
  const whole = reach >= TURN;
  const beyond = dials.unreached(pair, view);
  const swept = Math.abs(between) % TURN;
  const large = dial.radius > 40;
  const faint = 0.45 + 0.55 * weight; // pairs that hardly matter for this score step back
  const ring = large ? 5 : 3;
  return [
    { tag: "circle", at: { cx: dial.x, cy: dial.y, r: dial.radius, fill: theme.foreground, "fill-opacity": 0.045 } },
    sector(dial, key, whole || !beyond ? swept : reach, palette.query, 0.28 * faint + 0.08),
    sector(dial, key + reach, beyond ? swept - reach : 0, palette.beyond, 0.5),
    whole ? circle(dial, theme.muted, ring) : arc(dial, key, reach, theme.muted, ring),
    hand(dial, key, palette.key, large ? 3 : 1.8, faint),
    hand(dial, query, palette.query, large ? 3 : 1.8, faint),
    tip(dial, key, large ? 6 : 3.2, { fill: theme.background, stroke: palette.key, "stroke-width": large ? 2.5 : 1.6 }),
    tip(dial, query, large ? 6 : 3.2, { fill: palette.query, stroke: theme.background, "stroke-width": 1 }),
  ];
}

function sector(dial: Dial, from: number, sweep: number, fill: string, opacity: number): Mark {
  const [a, b] = [onDial(dial, from), onDial(dial, from + Math.min(sweep, TURN - 0.01))];
  const { radius } = dial;
  const path = `M ${dial.x} ${dial.y} L ${p(a)} A ${radius} ${radius} 0 ${sweep > Math.PI ? 1 : 0} 1 ${p(b)} Z`;
  return { tag: "path", at: { d: sweep > 1e-6 ? path : "", fill, "fill-opacity": opacity.toFixed(3) } };
}

/** The ring of a pair that made a whole turn in training. */
function circle(dial: Dial, stroke: string, width: number): Mark {
  const style = { fill: "none", stroke, "stroke-width": width, "stroke-opacity": 0.25 };
  return { tag: "circle", at: { cx: dial.x, cy: dial.y, r: dial.radius + width / 2 + 1, ...style } };
}

/** The ring of a pair that did not: as far as it came, seen from the key's hand. */
function arc(dial: Dial, from: number, sweep: number, stroke: string, width: number): Mark {
  const radius = dial.radius + width / 2 + 1;
  const wider = { ...dial, radius };
  const d = `M ${p(onDial(wider, from))} A ${radius} ${radius} 0 ${sweep > Math.PI ? 1 : 0} 1 ${p(onDial(wider, from + sweep))}`;
  return { tag: "path", at: { d, fill: "none", stroke, "stroke-width": width, "stroke-opacity": 0.65 } };
}

function hand(dial: Dial, angle: number, stroke: string, width: number, opacity: number): Mark {
  const end = onDial(dial, angle, 0.86);
  const at = { x1: dial.x, y1: dial.y, x2: end.x.toFixed(2), y2: end.y.toFixed(2), stroke, "stroke-width": width };
  return { tag: "line", at: { ...at, "stroke-linecap": "round", "stroke-opacity": opacity.toFixed(3) } };
}

function tip(dial: Dial, angle: number, radius: number, style: Mark["at"]): Mark {
  const end = onDial(dial, angle, 0.86);
  return { tag: "circle", at: { cx: end.x.toFixed(2), cy: end.y.toFixed(2), r: radius, ...style } };
}

function outline(dial: Dial, stroke: string, width: number): Mark {
  return { tag: "circle", at: { cx: dial.x, cy: dial.y, r: dial.radius + 5, fill: "none", stroke, "stroke-width": width } };
}

function label(dial: Dial, dials: Dials, view: View, pair: number, palette: Palette): Mark {
  const at = { x: dial.x, y: dial.y + dial.radius + 18, "text-anchor": "middle", "font-size": 10.5, fill: palette.theme.muted };
  return { tag: "text", at, text: positions(dials.omega(pair, view.scaling, view.position + 1)) };
}

function p(point: { x: number; y: number }): string {
  return `${point.x.toFixed(3)} ${point.y.toFixed(3)}`;
}
