// Where the cells of the pool stand; pure.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface PoolLayout {
  count: number; // cells, the null block's included
  columns: number;
  rows: number;
  cell: number; // pixels from one cell to the next
  gap: number;
  gutter: number; // room at the left for the id of each row's first block
  width: number; // of all cells and the gutter
  height: number;
  viewHeight: number; // what is seen at a time; the rest scrolls
}

const COLUMNS = [8, 10, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320];
const LARGEST = 44;
const SMALLEST = 4;
const FLATTEST = 4; // rows of the largest cells: a pool of few blocks is rather wide than high

/** Give `count` cells the largest size that fits. */
export function poolLayout(count: number, width: number, maxHeight: number): PoolLayout {
  const widest = COLUMNS.filter((columns) => columns * LARGEST <= width && Math.ceil(count / columns) >= FLATTEST).at(-1);
  if (widest && Math.ceil(count / widest) * LARGEST <= maxHeight) return sized(count, widest, LARGEST, 0, maxHeight);
  for (const columns of COLUMNS) {
    const bare = Math.min(LARGEST, Math.floor(width / columns));
    const gutter = bare < numberWidth(count) ? gutterOf(count) : 0;
    const cell = Math.min(LARGEST, Math.floor((width - gutter) / columns));
    const used = Math.min(columns, count);
    if (cell >= SMALLEST && Math.ceil(count / columns) * cell <= maxHeight) return sized(count, used, cell, gutter, maxHeight);
  }
  const gutter = gutterOf(count);
  return sized(count, Math.max(1, Math.floor((width - gutter) / SMALLEST)), SMALLEST, gutter, maxHeight);
}

export function cellBox(layout: PoolLayout, block: number): Box {
  const { columns, cell, gap, gutter } = layout;
  const [row, column] = [Math.floor(block / columns), block % columns];
  return { x: gutter + column * cell, y: row * cell, width: cell - gap, height: cell - gap };
}

/** The block at a point; null beside the cells. */
export function blockAt(layout: PoolLayout, x: number, y: number): number | null {
  const [column, row] = [Math.floor((x - layout.gutter) / layout.cell), Math.floor(y / layout.cell)];
  const block = row * layout.columns + column;
  return column >= 0 && column < layout.columns && row >= 0 && block < layout.count ? block : null;
}

/** Whether the cells have room for their ids. */
export function isNumbered({ cell, count }: PoolLayout): boolean {
  return cell >= numberWidth(count);
}

function numberWidth(count: number): number {
  return 9 + 6 * String(count - 1).length;
}

function sized(count: number, columns: number, cell: number, gutter: number, maxHeight: number): PoolLayout {
  const rows = Math.ceil(count / columns);
  const gap = cell >= 12 ? 2 : 1;
  const height = rows * cell;
  const viewHeight = Math.min(height, maxHeight);
  return { count, columns, rows, cell, gap, gutter, width: gutter + columns * cell, height, viewHeight };
}

function gutterOf(count: number): number {
  return 12 + 6 * String(count - 1).length;
}
