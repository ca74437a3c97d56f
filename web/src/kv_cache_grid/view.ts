// What the widget needs of a picture, be it of a pool or of one request's growing cache.

import type { Drawing } from "../lib/download";
import type { Theme } from "../lib/theme";
import type { Wire } from "./wire";

export interface View {
  readonly element: HTMLElement;
  /** Steps that can be shown. */
  readonly count: number;
  /** Take a new record of the same kind. */
  read(wire: Wire): void;
  setTheme(theme: Theme): void;
  setWidth(width: number): void;
  /** The selection has changed: what is painted is out of date. */
  repaint(): void;
  paint(step: number): void;
  /** The following tell of what was painted last. */
  title(): string;
  sentence(): string;
  legend(): HTMLElement[];
  drawing(step: number): Drawing;
}
