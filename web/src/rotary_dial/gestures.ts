// Pointer and keyboard on the drawing.

import type { Dials, View } from "./dials";
import { type Box, dialAt } from "./layout";
import type { Picture } from "./picture";

export interface Moves {
  dials(): Dials | null;
  view(): View;
  moveTo(position: number): void;
  spreadTo(distance: number): void;
  place(position: number, distance: number): void;
  choosePair(pair: number | null): void;
  chooseToken(which: "query" | "key", by: number): void;
  stepHead(layers: number, heads: number): void;
  reset(): void;
  /** Something is under the cursor: a dial, or a position on the chart of perplexity. */
  point(pair: number | null, position: number | null): void;
}

type Place = { on: "dial"; pair: number } | { on: "score" | "loss" | "large" } | null;

/** Let the user drag the hand, the marker on the curve and the position, and choose dials. */
export function bindPicture(plot: HTMLElement, picture: Picture, moves: Moves, signal: AbortSignal): void {
  let dragged: Place = null;
  const where = (event: PointerEvent): Place => placeAt(picture, ...local(picture, event));

  const drag = (event: PointerEvent, place: Place): void => {
    const [x, y] = local(picture, event);
    if (place?.on === "score" && picture.score) moves.spreadTo(Math.round(picture.score.x.invert(x)));
    if (place?.on === "loss" && picture.loss) moves.moveTo(Math.round(picture.loss.x.invert(x)));
    if (place?.on === "large") turnHand(picture, moves, x, y);
  };
  const down = (event: PointerEvent): void => {
    dragged = where(event);
    if (dragged?.on === "dial") moves.choosePair(dragged.pair === moves.view().pair ? null : dragged.pair);
    if (!dragged || dragged.on === "dial") return;
    picture.svg.setPointerCapture(event.pointerId);
    drag(event, dragged);
  };
  const move = (event: PointerEvent): void => {
    if (dragged && dragged.on !== "dial" && event.buttons & 1) return drag(event, dragged);
    const place = where(event);
    const [x] = local(picture, event);
    picture.svg.style.cursor = place === null ? "" : place.on === "dial" ? "pointer" : "ew-resize";
    moves.point(place?.on === "dial" ? place.pair : null, place?.on === "loss" && picture.loss ? picture.loss.x.invert(x) : null);
  };
  picture.svg.addEventListener("pointerdown", down, { signal });
  picture.svg.addEventListener("pointermove", move, { signal });
  picture.svg.addEventListener("pointerup", () => (dragged = null), { signal });
  picture.svg.addEventListener("pointerleave", () => moves.point(null, null), { signal });
  plot.addEventListener("keydown", (event) => key(moves, event), { signal });
}

function key(moves: Moves, event: KeyboardEvent): void {
  const view = moves.view();
  const far = event.shiftKey ? 10 : 1;
  const pairs = moves.dials()?.pairs ?? 1;
  const shown = moves.dials()?.shown(view) ?? 0;
  const actions: Record<string, () => void> = {
    ArrowRight: () => moves.spreadTo(view.distance + far),
    ArrowLeft: () => moves.spreadTo(view.distance - far),
    ArrowUp: () => moves.moveTo(view.position + far),
    ArrowDown: () => moves.moveTo(view.position - far),
    ".": () => moves.choosePair(Math.min(pairs - 1, view.pair === null ? shown : shown + 1)),
    ",": () => moves.choosePair(Math.max(0, view.pair === null ? shown : shown - 1)),
    Enter: () => moves.choosePair(view.pair === null ? shown : null),
    Escape: () => moves.reset(),
    q: () => moves.chooseToken("query", 1),
    Q: () => moves.chooseToken("query", -1),
    k: () => moves.chooseToken("key", 1),
    K: () => moves.chooseToken("key", -1),
    "[": () => moves.stepHead(0, -1),
    "]": () => moves.stepHead(0, 1),
    "{": () => moves.stepHead(-1, 0),
    "}": () => moves.stepHead(1, 0),
  };
  const action = actions[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
  action();
}

/** Turn the query's hand on the large dial to the pointer, by the fewest positions; the key stays. */
function turnHand(picture: Picture, moves: Moves, x: number, y: number): void {
  const [dials, view, large] = [moves.dials(), moves.view(), picture.layout?.large];
  if (!dials || !large) return;
  const omega = Math.abs(dials.omega(dials.shown(view), view.scaling, view.position + 1));
  if (!omega) return;
  const turn = 2 * Math.PI;
  const angle = Math.atan2(x - large.x, large.y - y) - view.position * omega;
  const shorter = ((((angle + Math.PI) % turn) + turn) % turn) - Math.PI;
  const by = Math.max(-view.distance, Math.round(shorter / omega));
  moves.place(view.position + by, view.distance + by);
}

function placeAt(picture: Picture, x: number, y: number): Place {
  const arranged = picture.layout;
  if (!arranged) return null;
  const pair = dialAt(arranged.dials, x, y);
  if (pair !== null) return { on: "dial", pair };
  if (dialAt([arranged.large], x, y) !== null) return { on: "large" };
  if (arranged.score && inside(arranged.score, x, y)) return { on: "score" };
  if (arranged.loss && inside(arranged.loss, x, y)) return { on: "loss" };
  return null;
}

function inside(box: Box, x: number, y: number): boolean {
  return x >= box.x - 4 && x <= box.x + box.width + 4 && y >= box.y && y <= box.y + box.height + 16;
}

function local(picture: Picture, event: PointerEvent): [number, number] {
  const box = picture.svg.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}
