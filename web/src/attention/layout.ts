// Where everything stands in the figure. Pure geometry: knows neither Jupyter nor the DOM.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A window on the matrix; stops are exclusive. */
export interface View {
  rowStart: number;
  rowStop: number;
  columnStart: number;
  columnStop: number;
}

export interface Layout {
  map: Box; // inside the left canvas
  canvas: { width: number; height: number };
  beside: boolean; // thumbnails to the right of the map, else below
  thumbnail: { size: number; gap: number; left: number; top: number; width: number; height: number };
}

const LEFT = 86; // room for row labels
const TOP = 74; // room for slanted column labels
const LARGEST = 440; // the map in CSS pixels

export function layout(width: number, rows: number, columns: number, layers: number, heads: number): Layout {
  const beside = width >= 700 && layers * heads > 1;
  const panel = beside ? Math.min(340, Math.floor(width * 0.38)) : width;
  const room = width - LEFT - (beside ? panel + 20 : 4);
  const mapWidth = Math.max(120, Math.min(LARGEST, room));
  // Square cells, except that few rows (one decode step, say) are drawn high enough to read.
  const cell = mapWidth / columns;
  const mapHeight = Math.min(mapWidth, Math.max(rows * cell, Math.min(rows * 18, mapWidth)));
  const gap = heads > 16 ? 1 : 3;
  const left = 26;
  const top = 34;
  const size = Math.max(4, Math.min(36, Math.floor((Math.min(panel, 340) - left) / heads) - gap));
  return {
    map: { x: LEFT, y: TOP, width: Math.floor(mapWidth), height: Math.floor(mapHeight) },
    canvas: { width: LEFT + Math.floor(mapWidth) + 4, height: TOP + Math.floor(mapHeight) + 4 },
    beside,
    thumbnail: { size, gap, left, top, width: left + heads * (size + gap), height: top + layers * (size + gap) },
  };
}

/** The cell under a point of the map's canvas, or null outside the map. */
export function cellAt(box: Box, view: View, x: number, y: number): { row: number; column: number } | null {
  const i = (y - box.y) / box.height;
  const j = (x - box.x) / box.width;
  if (i < 0 || i >= 1 || j < 0 || j >= 1) return null;
  return {
    row: view.rowStart + Math.floor(i * (view.rowStop - view.rowStart)),
    column: view.columnStart + Math.floor(j * (view.columnStop - view.columnStart)),
  };
}

/** The box that a block of cells fills. */
export function boxOf(box: Box, view: View, row: number, column: number, rows = 1, columns = 1): Box {
  const height = box.height / (view.rowStop - view.rowStart);
  const width = box.width / (view.columnStop - view.columnStart);
  return {
    x: box.x + (column - view.columnStart) * width,
    y: box.y + (row - view.rowStart) * height,
    width: columns * width,
    height: rows * height,
  };
}

/** Zoom by `factor` (above 1 goes in) around a cell, inside the matrix; at least 4 cells stay in view. */
export function zoomed(view: View, factor: number, row: number, column: number, rows: number, columns: number): View {
  const [rowStart, rowStop] = span(view.rowStart, view.rowStop, factor, row, rows);
  const [columnStart, columnStop] = span(view.columnStart, view.columnStop, factor, column, columns);
  return { rowStart, rowStop, columnStart, columnStop };
}

/** Move the view by whole cells, inside the matrix. */
export function panned(view: View, byRows: number, byColumns: number, rows: number, columns: number): View {
  const down = Math.max(-view.rowStart, Math.min(rows - view.rowStop, Math.round(byRows)));
  const right = Math.max(-view.columnStart, Math.min(columns - view.columnStop, Math.round(byColumns)));
  return {
    rowStart: view.rowStart + down,
    rowStop: view.rowStop + down,
    columnStart: view.columnStart + right,
    columnStop: view.columnStop + right,
  };
}

/** How many labels to skip so that each has `room` pixels. */
export function labelStep(count: number, pixels: number, room = 13): number {
  return Math.max(1, Math.ceil((count * room) / pixels));
}

function span(start: number, stop: number, factor: number, around: number, most: number): [number, number] {
  const length = Math.min(most, Math.max(Math.min(4, most), Math.round((stop - start) / factor)));
  const share = (around + 0.5 - start) / (stop - start);
  const first = Math.round(around + 0.5 - share * length);
  const clamped = Math.max(0, Math.min(most - length, first));
  return [clamped, clamped + length];
}
