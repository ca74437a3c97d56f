// Pointer and keyboard on the timeline.

import { placeAt } from "./layout";
import type { Scene } from "./scene";
import { home, panned, showing, zoomed } from "./window";

interface Drag {
  x: number;
  y: number;
  scrub: boolean; // on the axis and the strips a drag moves the step, in the rows it moves the window
  moved: boolean;
}

/** Let the user point, pin, scrub, zoom and move on `plot`. */
export function bindPlot(scene: Scene, plot: HTMLElement, signal: AbortSignal): void {
  let drag: Drag | null = null;
  const at = (event: MouseEvent) => scene.layout && placeAt(scene.layout, scene.window, scene.limits, event.offsetX, event.offsetY);

  const down = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    const place = at(event);
    drag = { x: event.offsetX, y: event.offsetY, scrub: place?.row === null, moved: false };
    if (place) plot.setPointerCapture(event.pointerId);
    if (place && drag.scrub) scene.goTo(place.column);
  };
  const move = (event: PointerEvent): void => {
    const place = at(event);
    if (drag && (event.buttons & 1) === 1) {
      if (drag.scrub && scene.layout) scene.goTo(columnAt(scene, event.offsetX));
      else if (!drag.scrub) dragBy(scene, drag, event);
    }
    scene.moveTo(place);
  };
  const up = (event: PointerEvent): void => {
    scene.moveTo(at(event));
    if (drag && !drag.moved && !drag.scrub) scene.pin();
    drag = null;
  };
  const wheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the notebook
    event.preventDefault();
    const place = at(event);
    if (place) zoomAt(scene, 1.0025 ** -event.deltaY, place.row, place.column);
  };
  plot.addEventListener("pointerdown", down, { signal });
  plot.addEventListener("pointermove", move, { signal });
  plot.addEventListener("pointerup", up, { signal });
  plot.addEventListener("pointercancel", () => (drag = null), { signal });
  plot.addEventListener("pointerleave", () => scene.moveTo(null), { signal });
  plot.addEventListener("dblclick", () => scene.setWindow(home(scene.limits)), { signal });
  plot.addEventListener("wheel", wheel, { signal, passive: false });
  plot.addEventListener("keydown", (event) => key(scene, event), { signal });
}

/** Zoom around the cursor, else around the marked step. */
export function zoomHere(scene: Scene, factor: number): void {
  zoomAt(scene, factor, scene.cursor?.row ?? null, scene.cursor?.column ?? scene.step);
}

function key(scene: Scene, event: KeyboardEvent): void {
  const far = event.shiftKey ? 10 : 1;
  const actions: Record<string, () => void> = {
    ArrowUp: () => stepBy(scene, -far, 0),
    ArrowDown: () => stepBy(scene, far, 0),
    ArrowLeft: () => stepBy(scene, 0, -far),
    ArrowRight: () => stepBy(scene, 0, far),
    Home: () => stepBy(scene, 0, -Infinity),
    End: () => stepBy(scene, 0, Infinity),
    Enter: () => scene.pin(),
    Escape: () => scene.clear(),
    "+": () => zoomHere(scene, 1.5),
    "=": () => zoomHere(scene, 1.5),
    "-": () => zoomHere(scene, 1 / 1.5),
    "0": () => scene.setWindow(home(scene.limits)),
  };
  const action = actions[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
  action();
}

/** Move the cursor; the first arrow only shows where it is. */
function stepBy(scene: Scene, rows: number, columns: number): void {
  if (!scene.rows || !scene.steps) return;
  const from = scene.cursor ?? { row: null, column: scene.step };
  const start = from.row === null && Number.isFinite(columns) ? 0 : 1;
  const row = clamped((from.row ?? Math.ceil(scene.window.row)) + start * rows, scene.rows);
  const column = clamped(from.column + start * columns, scene.steps);
  scene.setWindow(showing(scene.window, row, column, scene.limits));
  scene.moveTo({ row, column });
}

function clamped(value: number, count: number): number {
  return Math.max(0, Math.min(count - 1, value));
}

function zoomAt(scene: Scene, factor: number, row: number | null, column: number): void {
  const middle = scene.window.row + scene.window.rows / 2;
  const next = zoomed(scene.window, factor, row === null ? middle : row + 0.5, column + 0.5, scene.limits);
  scene.setWindow(showing(next, row, column, scene.limits)); // the cell in question is not cut at the edge
}

function columnAt(scene: Scene, x: number): number {
  const { axis } = scene.layout ?? { axis: { x: 0, width: 1 } };
  return Math.floor(scene.window.column + ((x - axis.x) / axis.width) * scene.window.columns);
}

function dragBy(scene: Scene, drag: Drag, event: PointerEvent): void {
  const box = scene.layout?.panels[0]?.rows;
  if (!box) return;
  const [right, down] = [drag.x - event.offsetX, drag.y - event.offsetY];
  if (!drag.moved && Math.hypot(right, down) < 4) return; // still a click
  drag.moved = true;
  drag.x = event.offsetX;
  drag.y = event.offsetY;
  const { window } = scene;
  const byRows = (down / box.height) * window.rows;
  scene.setWindow(panned(window, byRows, (right / box.width) * window.columns, scene.limits));
}
