// Pointer and keyboard on the large map.

import { cellAt, panned, zoomed } from "./layout";
import type { Scene } from "./scene";

/** Let the user point, pin, zoom and move on `map`. */
export function bindMap(scene: Scene, map: HTMLElement, signal: AbortSignal): void {
  let drag: { x: number; y: number; moved: boolean } | null = null;
  const at = (event: MouseEvent): { row: number; column: number } | null =>
    scene.layout && cellAt(scene.layout.map, scene.view, event.offsetX, event.offsetY);

  const move = (event: PointerEvent): void => {
    if (drag && (event.buttons & 1) === 1 && zoomedIn(scene)) dragBy(scene, drag, event);
    else scene.moveTo(at(event));
  };
  const up = (event: PointerEvent): void => {
    const cell = at(event);
    if (drag && !drag.moved && cell) scene.togglePinAt(scene.facts.query_positions[cell.row] ?? -1);
    drag = null;
  };
  const wheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the notebook
    const cell = at(event);
    if (!cell) return;
    event.preventDefault();
    zoom(scene, event.deltaY < 0 ? 1.5 : 1 / 1.5, cell.row, cell.column);
  };
  map.addEventListener("pointermove", move, { signal });
  map.addEventListener("pointerleave", () => scene.moveTo(null), { signal });
  map.addEventListener("pointerdown", (event) => (drag = { x: event.offsetX, y: event.offsetY, moved: false }), { signal });
  map.addEventListener("pointerup", up, { signal });
  map.addEventListener("wheel", wheel, { signal, passive: false });
  map.addEventListener("keydown", (event) => key(scene, event), { signal });
}

function key(scene: Scene, event: KeyboardEvent): void {
  const far = event.shiftKey ? 10 : 1;
  const actions: Record<string, () => void> = {
    ArrowUp: () => step(scene, -far, 0),
    ArrowDown: () => step(scene, far, 0),
    ArrowLeft: () => step(scene, 0, -far),
    ArrowRight: () => step(scene, 0, far),
    Enter: () => scene.cell && scene.togglePinAt(scene.facts.query_positions[scene.cell.row] ?? -1),
    Escape: () => scene.clear(),
    "[": () => scene.stepHead(0, -1),
    "]": () => scene.stepHead(0, 1),
    "{": () => scene.stepHead(-1, 0),
    "}": () => scene.stepHead(1, 0),
    "+": () => zoomHere(scene, 2),
    "=": () => zoomHere(scene, 2),
    "-": () => zoomHere(scene, 0.5),
    "0": () => zoomHere(scene, 0),
  };
  const action = actions[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
  action();
}

function step(scene: Scene, rows: number, columns: number): void {
  const from = scene.cell ?? { row: scene.rows - 1, column: 0 };
  const start = scene.cell ? 1 : 0; // the first arrow only shows where the cursor is
  const cell = {
    row: Math.max(0, Math.min(scene.rows - 1, from.row + start * rows)),
    column: Math.max(0, Math.min(scene.columns - 1, from.column + start * columns)),
  };
  const { view } = scene;
  const down = Math.min(0, cell.row - view.rowStart) + Math.max(0, cell.row + 1 - view.rowStop);
  const right = Math.min(0, cell.column - view.columnStart) + Math.max(0, cell.column + 1 - view.columnStop);
  if (down || right) scene.setView(panned(view, down, right, scene.rows, scene.columns));
  scene.moveTo(cell);
}

function zoomHere(scene: Scene, factor: number): void {
  const centre = {
    row: Math.floor((scene.view.rowStart + scene.view.rowStop) / 2),
    column: Math.floor((scene.view.columnStart + scene.view.columnStop) / 2),
  };
  const { row, column } = scene.cell ?? centre;
  zoom(scene, factor || 1e-9, row, column);
}

function zoom(scene: Scene, factor: number, row: number, column: number): void {
  scene.setView(zoomed(scene.view, factor, row, column, scene.rows, scene.columns));
}

function zoomedIn(scene: Scene): boolean {
  const { view } = scene;
  return view.rowStop - view.rowStart < scene.rows || view.columnStop - view.columnStart < scene.columns;
}

function dragBy(scene: Scene, drag: { x: number; y: number; moved: boolean }, event: PointerEvent): void {
  if (!scene.layout) return;
  const { map } = scene.layout;
  const { view } = scene;
  const rows = ((drag.y - event.offsetY) / map.height) * (view.rowStop - view.rowStart);
  const columns = ((drag.x - event.offsetX) / map.width) * (view.columnStop - view.columnStart);
  if (Math.abs(rows) < 1 && Math.abs(columns) < 1) return;
  drag.moved = true;
  drag.x = event.offsetX;
  drag.y = event.offsetY;
  scene.setView(panned(view, rows, columns, scene.rows, scene.columns));
}
