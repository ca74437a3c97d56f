// Pointer and keyboard on the pool and on the block tables.

import type { PoolView } from "./pool_view";
import type { TableSpot } from "./tables";

type Actions = Record<string, () => void>;

export function bindPool(view: PoolView, signal: AbortSignal): void {
  const { element } = view.cells;
  element.addEventListener("pointermove", (event) => view.point(view.blockUnder(event), null), { signal });
  element.addEventListener("pointerleave", () => view.point(null, null), { signal });
  element.addEventListener("click", (event) => toggleBlock(view, view.blockUnder(event)), { signal });
  const columns = (): number => view.layout?.columns ?? 1;
  listen(view, element, signal, {
    ArrowLeft: () => moveBlock(view, -1),
    ArrowRight: () => moveBlock(view, 1),
    ArrowUp: () => moveBlock(view, -columns()),
    ArrowDown: () => moveBlock(view, columns()),
    Home: () => moveBlock(view, -Infinity),
    End: () => moveBlock(view, Infinity),
    Enter: () => toggleBlock(view, view.block),
  });
}

export function bindTables(view: PoolView, signal: AbortSignal): void {
  const { element } = view.tables;
  const point = (spot: TableSpot | null): void => view.point(blockOf(view, spot), spot);
  element.addEventListener("pointermove", (event) => point(view.spotUnder(event)), { signal });
  element.addEventListener("pointerleave", () => view.point(null, null), { signal });
  const choose = (spot: TableSpot | null): void => {
    const block = blockOf(view, spot);
    if (block !== null) toggleBlock(view, block);
    else if (spot) toggleRequest(view, spot.sequence);
  };
  element.addEventListener("click", (event) => choose(view.spotUnder(event)), { signal });
  listen(view, element, signal, {
    ArrowUp: () => moveSpot(view, -1, 0),
    ArrowDown: () => moveSpot(view, 1, 0),
    ArrowLeft: () => moveSpot(view, 0, -1),
    ArrowRight: () => moveSpot(view, 0, 1),
    Enter: () => choose(view.spot),
  });
}

function listen(view: PoolView, element: HTMLElement, signal: AbortSignal, own: Actions): void {
  const actions: Actions = {
    ...own,
    "[": () => view.moveStep(-1),
    "]": () => view.moveStep(1),
    Escape: () => {
      view.point(null, null);
      view.select({ selected_block: null, selected_request: null });
    },
  };
  const key = (event: KeyboardEvent): void => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
    action();
  };
  element.addEventListener("keydown", key, { signal });
}

function moveBlock(view: PoolView, by: number): void {
  if (!view.pool || !view.moment) return;
  const last = view.pool.facts.num_blocks - 1;
  const from = view.block ?? view.selectedBlock;
  const first = Math.max(0, view.moment.state.refCounts.findIndex((count) => count > 0));
  // The first arrow only shows where the cursor is.
  const to = from === null && Number.isFinite(by) ? first : (from ?? 0) + by;
  view.point(Math.max(0, Math.min(last, to)), null);
  view.reveal();
}

function moveSpot(view: PoolView, rows: number, columns: number): void {
  const running = view.moment?.state.running ?? [];
  const row = view.spot ? running.indexOf(view.spot.sequence) + rows : 0;
  const sequence = running[Math.max(0, Math.min(running.length - 1, row))];
  if (sequence === undefined) return;
  const length = view.moment?.state.tables.get(sequence)?.length ?? 0;
  const index = Math.max(-1, Math.min(length - 1, (view.spot?.index ?? -1) + (view.spot ? columns : 0)));
  const spot = { sequence, index: index < 0 ? null : index }; // left of the first block stands the request
  view.point(blockOf(view, spot), spot);
  view.reveal();
}

function blockOf(view: PoolView, spot: TableSpot | null): number | null {
  if (!spot || spot.index === null) return null;
  return view.moment?.state.tables.get(spot.sequence)?.[spot.index] ?? null;
}

function toggleBlock(view: PoolView, block: number | null): void {
  if (block !== null) view.select({ selected_block: view.selectedBlock === block ? null : block });
}

function toggleRequest(view: PoolView, sequence: number): void {
  const id = view.pool?.facts.sequences[sequence]?.id ?? null;
  view.select({ selected_request: view.selectedRequest === id ? null : id });
}
