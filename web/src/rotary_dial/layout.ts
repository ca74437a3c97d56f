// Where everything stands in the figure. Pure geometry: knows neither Jupyter nor the DOM.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Dial {
  x: number; // centre
  y: number;
  radius: number;
}

export interface Layout {
  width: number;
  height: number;
  large: Dial;
  words: { x: number; y: number }; // below the large dial, centred
  dials: Dial[];
  score: Box | null; // the plotting areas, axes outside
  loss: Box | null;
}

const LABEL = 16; // under each dial
const LEFT = 46; // room for a chart's numbers
const TOP = 30; // room for a chart's title
const BELOW = 38; // room for a chart's axis
const CHART = 210;
const RIGHT = 18;
const LARGE = 62; // radius
export const LINE = 17; // of the words below it

export function layout(width: number, pairs: number, lines: number, score: boolean, loss: boolean): Layout {
  const words = lines * LINE - 6;
  const wide = width >= 620; // else the large dial stands above the others
  const aside = wide ? 2 * LARGE + 44 : 0;
  const large = { x: wide ? LARGE + 18 : width / 2, y: LARGE + 10, radius: LARGE };
  const corner = 2 * LARGE + 38; // where the words begin, below the large dial
  const grid = { x: aside, y: wide ? 0 : corner + words };
  const cell = cellSize(width - aside, pairs);
  const most = Math.max(1, Math.floor((width - aside) / cell));
  const rows = Math.ceil(pairs / most);
  const columns = Math.ceil(pairs / rows);
  const pitch = Math.min((width - aside) / columns, cell + 34);
  const radius = Math.min(27, cell / 2 - 4.5, pitch / 2 - 6);
  const left = grid.x + (width - aside - columns * pitch) / 2;
  const line = 2 * radius + LABEL + 12;
  const dials = Array.from({ length: pairs }, (_, i) => ({
    x: left + ((i % columns) + 0.5) * pitch,
    y: grid.y + Math.floor(i / columns) * line + radius + 8,
    radius,
  }));
  const top = Math.max(grid.y + rows * line, corner + words) + 10;
  const both = score && loss && width >= 700;
  const half = both ? Math.floor((width - 24) / 2) : width;
  const chart = (x: number, y: number): Box => ({ x: x + LEFT, y: y + TOP, width: half - LEFT - RIGHT, height: CHART - TOP - BELOW });
  const below = score && !both ? CHART + 8 : 0;
  const charts = (score || loss ? CHART : 0) + (score && loss && !both ? CHART + 8 : 0);
  return {
    width,
    height: top + charts,
    large,
    words: { x: large.x, y: corner },
    dials,
    score: score ? chart(0, top) : null,
    loss: loss ? chart(both ? half + 24 : 0, top + below) : null,
  };
}

/** The dial under a point, or null. */
export function dialAt(dials: Dial[], x: number, y: number): number | null {
  const found = dials.findIndex((dial) => Math.hypot(x - dial.x, y - dial.y) <= dial.radius + 5);
  return found < 0 ? null : found;
}

/** Room for one dial: as large as fits four rows, within bounds. */
function cellSize(width: number, pairs: number): number {
  const rows = pairs > 40 ? 5 : 3;
  return Math.max(42, Math.min(62, Math.floor(width / Math.ceil(pairs / rows))));
}

/** Turn clockwise from the top by `angle`. */
export function onDial(dial: Dial, angle: number, share = 1): { x: number; y: number } {
  return { x: dial.x + share * dial.radius * Math.sin(angle), y: dial.y - share * dial.radius * Math.cos(angle) };
}
