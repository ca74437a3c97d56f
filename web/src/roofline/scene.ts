// Where everything of a roofline lies, in pixels. Knows neither Jupyter nor the DOM.

import { visible } from "../lib/tokens";
import { type Box, distance, LABEL_HEIGHT, type Line, type Placed, placeLabels, placesAround, type Point, type Wanted } from "./labels";
import { around, decades, logScale, plain, quantity } from "./scale";
import { bound, ridge, type Roof, type RooflineWire } from "./wire";

export interface Mark {
  step: number;
  phase: string;
  x: number;
  y: number; // of what was reached, or of the bound if nothing ran
  boundY: number;
  ran: boolean;
}

export interface RoofShape {
  lines: [Line, Line]; // the slope of memory and the flat peak
  ridge: Point;
  own: boolean; // the record's own machine, beside another device
}

export interface Tick {
  at: number;
  text: string;
}

export interface Scene {
  width: number;
  height: number;
  plot: Box;
  xTicks: Tick[];
  yTicks: Tick[];
  roofs: RoofShape[]; // the one that is shown comes last
  marks: Mark[]; // of the roof that is shown
  faint: Mark[]; // what was measured, while another device is shown
  labels: Placed[];
}

const MARGIN = { left: 50, right: 18, top: 24, bottom: 42 };
const HALF = 6; // of a mark's square

/** Lay out the roof of `device`, beside the record's own; `measure` gives the width of a label. */
export function layOut(wire: RooflineWire, device: string, width: number, measure: (text: string) => number): Scene {
  const own = wire.roofs[0] as Roof;
  const shown = wire.roofs.find((roof, i) => i > 0 && roof.name === device) ?? own;
  const roofs = shown === own ? [own] : [own, shown];
  const height = Math.round(Math.min(400, Math.max(280, width * 0.52)));
  const plot = {
    x: MARGIN.left,
    y: MARGIN.top,
    width: width - MARGIN.left - MARGIN.right,
    height: height - MARGIN.top - MARGIN.bottom,
  };
  const xDomain = around(roofs.flatMap((roof) => [ridge(roof), ...roof.steps.map((step) => step.intensity)]), 2, 2.5);
  const reached = roofs.flatMap((roof) => roof.steps.map((step) => step.flops_per_second ?? bound(roof, step.intensity)));
  const yDomain = around([...reached, ...roofs.map((roof) => roof.flops_per_second)], 2.5, 2.2);
  const x = logScale(xDomain, [plot.x, plot.x + plot.width]);
  const y = logScale(yDomain, [plot.y + plot.height, plot.y]);

  const shapes = roofs.map((roof) => shapeOf(roof, x, y, xDomain, yDomain, roof !== shown));
  const marks = marksOf(shown, x, y);
  const faint = shown === own ? [] : marksOf(own, x, y);
  const taken = [...marks, ...faint].map((mark) => square(mark.x, mark.y));
  taken.push(...marks.filter((mark) => mark.ran).map((mark) => square(mark.x, mark.boundY)));
  const lines = shapes.flatMap((shape) => shape.lines);
  for (const mark of marks) lines.push({ x1: mark.x, y1: mark.y, x2: mark.x, y2: mark.boundY });
  const [first, last] = [shapes[0] as RoofShape, shapes[shapes.length - 1] as RoofShape];
  lines.push({ x1: last.ridge.x, y1: last.ridge.y, x2: last.ridge.x, y2: plot.y + plot.height });
  const wanted = [
    ...roofLabels(shown, last, plot, measure, ""),
    ...stepLabels(shown, marks, measure),
    ...(shown === own ? [] : roofLabels(own, first, plot, measure, `${visible(own.name, 14).replaceAll("·", " ")}: `)),
    ...(shown === own ? regionLabels(last, plot, measure) : []),
  ];
  return {
    width, height, plot, marks, faint, roofs: shapes,
    xTicks: decades(xDomain, Math.floor(plot.width / 60)).map((value) => ({ at: x(value), text: plain(value) })),
    yTicks: decades(yDomain, Math.floor(plot.height / 34)).map((value) => ({ at: y(value), text: quantity(value, "").trim() })),
    labels: placeLabels(wanted, taken, plot, lines),
  };
}

/** The mark nearest to a place, if one is within reach. */
export function nearest(scene: Scene, x: number, y: number, reach = 28): number | null {
  let best: number | null = null;
  let least = reach;
  for (const mark of scene.marks) {
    const distance = Math.min(Math.hypot(mark.x - x, mark.y - y), Math.hypot(mark.x - x, mark.boundY - y));
    if (distance < least) [best, least] = [mark.step, distance];
  }
  return best;
}

function shapeOf(
  roof: Roof,
  x: (value: number) => number,
  y: (value: number) => number,
  [left, right]: [number, number],
  [bottom]: [number, number],
  own: boolean,
): RoofShape {
  const corner = { x: x(ridge(roof)), y: y(roof.flops_per_second) };
  const start = Math.max(left, bottom / roof.bytes_per_second); // where the slope enters the picture
  const slope = { x1: x(start), y1: y(bound(roof, start)), x2: corner.x, y2: corner.y };
  return { lines: [slope, { x1: corner.x, y1: corner.y, x2: x(right), y2: corner.y }], ridge: corner, own };
}

function marksOf(roof: Roof, x: (value: number) => number, y: (value: number) => number): Mark[] {
  return roof.steps.map((step, i) => {
    const boundY = y(bound(roof, step.intensity));
    const ran = step.flops_per_second !== null;
    return { step: i, phase: step.phase, x: x(step.intensity), boundY, ran, y: ran ? y(step.flops_per_second ?? 1) : boundY };
  });
}

function square(x: number, y: number): Box {
  return { x: x - HALF, y: y - HALF, width: 2 * HALF, height: 2 * HALF };
}

/** The two limits along their lines, and the ridge where they meet. */
function roofLabels(roof: Roof, shape: RoofShape, plot: Box, measure: (text: string) => number, before: string): Wanted[] {
  const peak = `${before}${quantity(roof.flops_per_second, "FLOP/s")}`;
  const bandwidth = quantity(roof.bytes_per_second, "B/s");
  const corner = `ridge ${plain(ridge(roof))} FLOP/byte`;
  const [slope, flat] = shape.lines;
  const end = plot.x + plot.width - 4;
  const flatPlaces = [1, 0.75, 0.5, 0.25].map((share) => ({
    x: flat.x1 + share * (end - flat.x1) - measure(peak),
    y: flat.y1 - LABEL_HEIGHT - HALF - 1,
  }));
  const along = [0.5, 0.35, 0.65, 0.2, 0.8].map((share) => {
    const [x, y] = [slope.x1 + share * (slope.x2 - slope.x1), slope.y1 + share * (slope.y2 - slope.y1)];
    return { x: x - 6 - measure(bandwidth), y: y - LABEL_HEIGHT };
  });
  const bottom = plot.y + plot.height - LABEL_HEIGHT - 3;
  const width = measure(corner);
  const labels: Wanted[] = [
    { text: peak, width: measure(peak), places: [...flatPlaces, { x: end - measure(peak), y: flat.y1 + 4 }] },
    { text: bandwidth, width: measure(bandwidth), places: along },
  ];
  if (!shape.own) {
    const under = [shape.ridge.x + 6, shape.ridge.x - width - 6, end - width].map((x) => ({ x, y: bottom }));
    labels.push({ text: corner, width, places: [...under, ...under.map(({ x, y }) => ({ x, y: y - LABEL_HEIGHT - 2 }))] });
  }
  return labels;
}

/** A label beside each step: the first and the last of each phase have the first choice. */
function stepLabels(roof: Roof, marks: Mark[], measure: (text: string) => number): Wanted[] {
  const ends = marks.filter((mark, i) => mark.phase !== marks[i - 1]?.phase || mark.phase !== marks[i + 1]?.phase);
  return [...ends, ...marks.filter((mark) => !ends.includes(mark))].map((mark) => {
    const text = visible(roof.steps[mark.step]?.label ?? "", 14).replaceAll("·", " ");
    const width = measure(text);
    const box = (place: Point): Box => ({ ...place, width, height: LABEL_HEIGHT });
    // A label that lies nearer to another mark would name the wrong one.
    const places = placesAround(mark.x, mark.y, width, HALF + 5).filter((place) =>
      marks.every((other) => other === mark || distance(box(place), other) > distance(box(place), mark)),
    );
    return { text, width, places };
  });
}

/** What limits on either side of the ridge. */
function regionLabels(shape: RoofShape, plot: Box, measure: (text: string) => number): Wanted[] {
  const y = plot.y + plot.height - LABEL_HEIGHT - 3;
  const end = plot.x + plot.width - 4;
  const side = (text: string, outer: number, inner: number): Wanted => {
    const rows = [0, 1, 2].map((row) => y - row * (LABEL_HEIGHT + 2));
    return { text, width: measure(text), places: [outer, inner].flatMap((x) => rows.map((row) => ({ x, y: row }))) };
  };
  const [left, right] = ["memory-bound", "compute-bound"];
  return [
    ...(plot.x + 4 + measure(left) < shape.ridge.x ? [side(left, plot.x + 4, shape.ridge.x - measure(left) - 6)] : []),
    ...(end - measure(right) > shape.ridge.x ? [side(right, end - measure(right), shape.ridge.x + 6)] : []),
  ];
}
