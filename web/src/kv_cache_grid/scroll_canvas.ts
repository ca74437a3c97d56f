// A canvas as large as its window over content of any size: the browser scrolls, the owner paints what is seen.

import { h, sizeCanvas } from "../lib/dom";
import type { Box } from "./layout";

export interface Point {
  x: number;
  y: number;
}

export class ScrollCanvas {
  readonly element: HTMLElement;
  private readonly sizer: HTMLElement;
  private readonly layers: HTMLCanvasElement[];
  private size = "";

  /** `layers` canvases lie above each other, so that a cursor moves without painting all again.
   * `moved` is called when another part of the content is seen, also when a hidden tab is shown again. */
  constructor(label: string, layers: number, moved: () => void, signal: AbortSignal) {
    this.layers = Array.from({ length: layers }, () => h("canvas"));
    this.sizer = h("div", { class: "lw-kv-sizer" }, h("div", { class: "lw-kv-window" }, ...this.layers));
    this.element = h("div", { class: "lw-kv-scroll", tabindex: 0, role: "application", "aria-label": label }, this.sizer);
    this.element.addEventListener("scroll", moved, { signal, passive: true });
    const observer = new ResizeObserver(moved);
    observer.observe(this.element);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  /** Make the window `height` pixels high over content of the given size. */
  resize(height: number, contentWidth: number, contentHeight: number): void {
    const size = `${height} ${contentWidth} ${contentHeight}`;
    if (size === this.size) return;
    this.size = size;
    this.element.style.height = `${height}px`;
    this.sizer.style.width = `${contentWidth}px`;
    this.sizer.style.height = `${contentHeight}px`;
  }

  /** What is seen of the content. */
  get view(): Box {
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.element;
    return { x: scrollLeft, y: scrollTop, width: clientWidth, height: clientHeight };
  }

  /** A layer's empty context, in CSS pixels of the window. */
  context(layer: number): CanvasRenderingContext2D {
    const { width, height } = this.view;
    return sizeCanvas(this.layers[layer] as HTMLCanvasElement, width, height);
  }

  /** The point of the content under the pointer. */
  at(event: MouseEvent): Point {
    const { left, top } = this.element.getBoundingClientRect();
    const { x, y } = this.view;
    return { x: event.clientX - left - this.element.clientLeft + x, y: event.clientY - top - this.element.clientTop + y };
  }

  /** Scroll just so far that `box` of the content is seen, right of `left` pixels that stand still. */
  reveal(box: Box, left = 0): void {
    const { x, y, width, height } = this.view;
    const right = box.x + box.width - width;
    const bottom = box.y + box.height - height;
    const to = { left: Math.min(Math.max(x, right), box.x - left), top: Math.min(Math.max(y, bottom), box.y) };
    if (to.left !== x || to.top !== y) this.element.scrollTo(to);
  }
}
