// Places labels so that none lies over another or over a mark. Knows neither Jupyter nor the DOM.

export interface Point {
  x: number;
  y: number;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Line {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

export interface Wanted {
  text: string;
  width: number;
  /** Top left corners, the best first. */
  places: Point[];
}

export interface Placed {
  text: string;
  box: Box;
}

export const LABEL_HEIGHT = 14;

/** Give each label the first free place; one that crosses a line only if it must; none where all is taken. */
export function placeLabels(wanted: Wanted[], taken: Box[], inside: Box, lines: Line[]): Placed[] {
  const occupied = [...taken];
  const placed: Placed[] = [];
  for (const { text, width, places } of wanted) {
    const boxes = places.map(({ x, y }) => ({ x, y, width, height: LABEL_HEIGHT }));
    const free = boxes.filter((box) => contains(inside, box) && !occupied.some((other) => overlap(box, other)));
    const box = free.find((candidate) => !lines.some((line) => crosses(line, candidate))) ?? free[0];
    if (!box) continue;
    occupied.push(box);
    placed.push({ text, box });
  }
  return placed;
}

/** Places around a point: right, left, above, below, then the corners. */
export function placesAround(x: number, y: number, width: number, gap: number): Point[] {
  const [left, middle, right] = [x - gap - width, x - width / 2, x + gap];
  const [above, level, below] = [y - gap - LABEL_HEIGHT, y - LABEL_HEIGHT / 2, y + gap];
  return [
    { x: right, y: level }, { x: left, y: level }, { x: middle, y: below }, { x: middle, y: above },
    { x: right, y: below }, { x: left, y: above }, { x: right, y: above }, { x: left, y: below },
  ];
}

function overlap(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** How far a point lies outside a box; 0 inside. */
export function distance(box: Box, point: Point): number {
  const right = Math.max(box.x - point.x, 0, point.x - box.x - box.width);
  const down = Math.max(box.y - point.y, 0, point.y - box.y - box.height);
  return Math.hypot(right, down);
}

function contains(outer: Box, box: Box): boolean {
  return (
    box.x >= outer.x && box.y >= outer.y &&
    box.x + box.width <= outer.x + outer.width && box.y + box.height <= outer.y + outer.height
  );
}

/** Whether a line passes through a box (Liang and Barsky's clipping). */
function crosses({ x1, y1, x2, y2 }: Line, box: Box): boolean {
  const edges: [number, number][] = [
    [x1 - x2, x1 - box.x], [x2 - x1, box.x + box.width - x1],
    [y1 - y2, y1 - box.y], [y2 - y1, box.y + box.height - y1],
  ];
  let [enter, leave] = [0, 1];
  for (const [direction, distance] of edges) {
    if (direction === 0 && distance < 0) return false;
    if (direction < 0) enter = Math.max(enter, distance / direction);
    if (direction > 0) leave = Math.min(leave, distance / direction);
  }
  return enter <= leave;
}
