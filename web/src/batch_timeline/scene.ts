// The state of one timeline on the page: what is in view, what is marked, and painting it.

import type { AnyModel } from "@anywidget/types";
import type { Frame } from "../lib/frame";
import type { Theme } from "../lib/theme";
import type { Picture } from "./labels";
import { type Layout, layout, limits, type Place } from "./layout";
import { type Marks, paintFigure, paintMarks } from "./paint";
import type { ScrollBars } from "./scroll_bars";
import { cellSentence, stepSentence } from "./sentence";
import { type Difference, Run, type TimelineWire } from "./timeline";
import { carried, home, type Limits, panned, showing, type Window } from "./window";

export interface Elements {
  frame: Frame;
  all: HTMLElement; // the button that shows every row; only of use where they do not fit
  cells: HTMLCanvasElement;
  marks: HTMLCanvasElement;
  bars: ScrollBars;
}

export class Scene {
  runs: Run[] = [];
  layout: Layout | null = null;
  window: Window = { row: 0, rows: 1, column: 0, columns: 1 };
  limits: Limits = { rows: 1, columns: 1, leastRows: 1, homeRows: 1, leastColumns: 1 };
  cursor: Place | null = null; // under the pointer, or the keyboard's
  changed: () => void = () => {};
  private difference: Difference | null = null;
  private theme!: Theme;
  private width = 0;
  private shown = -1; // the marked step that was last brought into view: whoever looks elsewhere since stays there
  private stale = true; // cells are painted again only when they have changed
  private readonly ruler = document.createElement("canvas").getContext("2d");

  constructor(
    readonly model: AnyModel,
    private readonly dom: Elements,
  ) {}

  get rows(): number {
    return this.runs[0]?.rows.length ?? 0;
  }

  get steps(): number {
    return Math.max(0, ...this.runs.map((run) => run.steps));
  }

  get step(): number {
    return Math.min(this.model.get("step") as number, Math.max(0, this.steps - 1));
  }

  /** A new record, or a longer one of the same run: what was in view and marked stays. */
  read(): void {
    const wire = this.model.get("_timeline") as TimelineWire;
    if (!wire.runs) return;
    const first = this.runs.length === 0;
    this.runs = wire.runs.map((run) => new Run(run));
    this.difference = wire.difference;
    if (this.cursor && (this.cursor.column >= this.steps || (this.cursor.row ?? 0) >= this.rows)) this.cursor = null;
    this.relayout(first);
    if (this.step !== this.shown) this.showMarked("step");
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.repaint();
  }

  setWidth(width: number): void {
    const first = this.width === 0;
    this.width = width;
    this.relayout(first);
  }

  setWindow(window: Window): void {
    this.window = window;
    this.repaint();
  }

  moveTo(place: Place | null): void {
    this.cursor = place;
    this.changed();
  }

  goTo(step: number): void {
    this.model.set("step", Math.max(0, Math.min(this.steps - 1, step)));
    this.model.save_changes();
    this.changed();
  }

  /** Mark the cell under the cursor: its step, and its request if it is in a row. */
  pin(): void {
    if (!this.cursor || !this.steps) return;
    const id = this.cursor.row === null ? undefined : this.runs[0]?.rows[this.cursor.row]?.id;
    if (id !== undefined) this.model.set("selected_request", id);
    this.goTo(this.cursor.column);
  }

  clear(): void {
    this.cursor = null;
    this.model.set("selected_request", null);
    this.model.save_changes();
    this.changed();
  }

  /** Bring what was marked from outside into view. */
  showMarked(what: "step" | "selected_request"): void {
    if (what === "step") this.shown = this.step;
    const row = what === "selected_request" ? (this.selected[0] ?? null) : null;
    const next = showing(this.window, row, what === "step" ? this.step : null, this.limits);
    if (next !== this.window) this.setWindow(next);
    this.changed();
  }

  repaint(): void {
    this.stale = true;
    this.changed();
  }

  picture(): Picture | null {
    const { runs, difference, layout: place, window, theme, steps } = this;
    if (!place || !runs.length || !theme) return null;
    const trait = (name: string): string => this.model.get(name) as string;
    const names = [
      { title: trait("title") || (runs.length > 1 ? "first run" : ""), badge: trait("badge") },
      { title: trait("against_title") || "second run", badge: trait("against_badge") },
    ];
    const measure = (text: string, size: number): number => {
      if (!this.ruler) return 6 * text.length;
      this.ruler.font = `600 ${size}px ${theme.font}`;
      return this.ruler.measureText(text).width;
    };
    return { runs, names, difference, steps, layout: place, window, theme, measure };
  }

  paint(): void {
    const picture = this.picture();
    if (!picture) return;
    if (this.stale) paintFigure(this.dom.cells, picture);
    this.stale = false;
    const marks: Marks = { step: this.step, selected: this.selected, cursor: this.cursor };
    paintMarks(this.dom.marks, picture, marks);
    this.dom.bars.show(picture.layout, this.window, this.limits);
    const requests = picture.runs[0]?.requests ?? 0;
    const who = requests === this.rows ? `${requests} requests` : `${requests} requests in ${this.rows} rows`;
    this.dom.frame.setTitle("Batch timeline", `${who} × ${this.steps} steps · step ${this.step}`);
    this.dom.frame.setSentence(this.sentence(picture));
  }

  /** Place everything anew; at first the window is at the start, later it stays where it can. */
  relayout(first = false): void {
    if (!this.width || !this.runs.length) return;
    const titled = this.runs.length > 1 || this.model.get("title") !== "";
    this.layout = layout(this.width, this.rows, this.runs.length, titled);
    const before = this.limits;
    this.limits = limits(this.layout, this.rows, this.steps);
    this.window = first ? this.start() : carried(this.window, before, this.limits);
    // Room for the longest sentence, so that nothing below moves while the cursor does.
    const lines = Math.ceil((this.runs.length * 150 * 6.9) / this.width);
    this.dom.frame.root.style.setProperty("--lw-bt-lines", String(Math.max(2, lines)));
    this.dom.all.hidden = this.limits.rows <= this.limits.homeRows;
    this.repaint();
  }

  private sentence({ runs, names }: Picture): string {
    const titles = names.map((name) => name.title);
    const row = this.cursor ? this.cursor.row : (this.selected[0] ?? null);
    const step = this.cursor?.column ?? this.step;
    if (row !== null) return cellSentence(runs, titles, row, step);
    return stepSentence(runs, titles, this.difference, step);
  }

  /** The rows of the selected request: its own, or its children's. */
  private get selected(): number[] {
    const id = this.model.get("selected_request") as string | null;
    if (id === null) return [];
    const rows = this.runs[0]?.rows ?? [];
    return rows.flatMap((row, i) => (row.id === id || row.parent === id ? [i] : []));
  }

  /** The window at the start: rows that are there at the marked step come first where not all fit. */
  private start(): Window {
    const there = this.runs[0]?.firstThere(this.step) ?? 0;
    return panned(home(this.limits), there, 0, this.limits);
  }
}
