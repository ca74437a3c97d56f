// The two bars that show which part is in view, and move it. The wheel stays the page's.

import { h } from "../lib/dom";
import type { Layout } from "./layout";
import type { Limits, Window } from "./window";

/** Calls `moved` with the share of all rows and of all steps by which the window is to move. */
export class ScrollBars {
  readonly down = bar("lw-bt-down");
  readonly across = bar("lw-bt-across");

  constructor(moved: (rows: number, columns: number) => void, signal: AbortSignal) {
    grip(this.down, (_, y) => moved(y / this.down.clientHeight, 0), signal);
    grip(this.across, (x) => moved(0, x / this.across.clientWidth), signal);
  }

  show({ axis, panels, height }: Layout, window: Window, limits: Limits): void {
    const [first, last] = [panels[0]?.rows, panels.at(-1)?.rows];
    if (!first || !last) return;
    place(this.down, { left: axis.x + axis.width + 3, top: first.y, width: 8, height: last.y + last.height - first.y });
    place(this.across, { left: axis.x, top: height - 9, width: axis.width, height: 8 });
    const thumbs = [
      { element: this.down, from: window.row, count: window.rows, all: limits.rows, side: ["top", "height"] },
      { element: this.across, from: window.column, count: window.columns, all: limits.columns, side: ["left", "width"] },
    ];
    for (const { element, from, count, all, side } of thumbs) {
      const [start, share] = [from / all, Math.min(1, count / all)];
      element.style.visibility = share < 0.999 ? "visible" : "hidden";
      const thumb = element.firstElementChild as HTMLElement;
      thumb.style.setProperty(side[0] ?? "", `${100 * start}%`);
      thumb.style.setProperty(side[1] ?? "", `max(14px, ${100 * share}%)`);
    }
  }
}

function bar(name: string): HTMLElement {
  return h("div", { class: `lw-bt-bar ${name}`, "aria-hidden": "true" }, h("i"));
}

function place(element: HTMLElement, box: Record<string, number>): void {
  for (const [name, value] of Object.entries(box)) element.style.setProperty(name, `${value}px`);
}

function grip(element: HTMLElement, moved: (x: number, y: number) => void, signal: AbortSignal): void {
  element.addEventListener("pointerdown", (event) => element.setPointerCapture(event.pointerId), { signal });
  const move = (event: PointerEvent): void => {
    if (element.hasPointerCapture(event.pointerId)) moved(event.movementX, event.movementY);
  };
  element.addEventListener("pointermove", move, { signal });
}
