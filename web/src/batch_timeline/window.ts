// The window on rows and steps: zoom and pan. Pure geometry: knows neither Jupyter nor the DOM.

/** What is in view, in rows and steps; parts of them are allowed. */
export interface Window {
  row: number;
  rows: number;
  column: number;
  columns: number;
}

export interface Limits {
  rows: number; // all there are
  columns: number;
  leastRows: number; // the most that a row is enlarged
  homeRows: number; // how many rows are readable without zoom
  leastColumns: number;
}

/** The window at the start: every step, and as many rows as are readable. */
export function home(limits: Limits): Window {
  const columns = Math.max(limits.columns, limits.leastColumns);
  return { row: 0, rows: Math.min(limits.rows, limits.homeRows), column: 0, columns };
}

/** Every row and every step. */
export function whole(limits: Limits): Window {
  return { ...home(limits), rows: limits.rows };
}

/** Zoom by `factor` (above 1 goes in) around a point that stays where it is. */
export function zoomed(window: Window, factor: number, row: number, column: number, limits: Limits): Window {
  const rows = between(window.rows / factor, Math.min(limits.rows, limits.leastRows), limits.rows);
  const most = Math.max(limits.columns, limits.leastColumns);
  const columns = between(window.columns / factor, limits.leastColumns, most);
  return inside(
    {
      row: row - ((row - window.row) * rows) / window.rows,
      rows,
      column: column - ((column - window.column) * columns) / window.columns,
      columns,
    },
    limits,
  );
}

/** Move the window, as far as there is something to see. */
export function panned(window: Window, byRows: number, byColumns: number, limits: Limits): Window {
  return inside({ ...window, row: window.row + byRows, column: window.column + byColumns }, limits);
}

/** Move the window as little as needed to show a cell; a row or column of null stays where it is. */
export function showing(window: Window, row: number | null, column: number | null, limits: Limits): Window {
  const down = row === null ? 0 : into(row, window.row, window.rows);
  const right = column === null ? 0 : into(column, window.column, window.columns);
  return down || right ? panned(window, down, right, limits) : window;
}

/** The window for a record that has grown or changed: what showed all goes on showing all. */
export function carried(window: Window, before: Limits, now: Limits): Window {
  const start = home(now);
  const keepRows = before.rows === now.rows;
  const sawAll = window.columns >= before.columns;
  return inside(
    {
      row: keepRows ? window.row : start.row,
      rows: keepRows ? window.rows : start.rows,
      column: sawAll ? 0 : window.column,
      columns: sawAll ? start.columns : window.columns,
    },
    now,
  );
}

function inside(window: Window, limits: Limits): Window {
  return {
    ...window,
    row: between(window.row, 0, Math.max(0, limits.rows - window.rows)),
    column: between(window.column, 0, Math.max(0, limits.columns - window.columns)),
  };
}

function into(at: number, start: number, length: number): number {
  return Math.min(0, at - start) + Math.max(0, at + 1 - start - length);
}

function between(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value));
}
