// The pool and its block tables on the page: what is shown, what is under the cursor, what is selected.

import type { AnyModel } from "@anywidget/types";
import { h } from "../lib/dom";
import type { Drawing } from "../lib/download";
import type { Theme } from "../lib/theme";
import { type CellPicture, paintCells } from "./cells";
import { detailParts } from "./detail";
import { blockAt, cellBox, type PoolLayout, poolLayout } from "./layout";
import { paintMarks } from "./overlay";
import { Palette } from "./palette";
import { type Moment, type Pool, poolOf } from "./pool";
import { poolDrawing } from "./pool_drawing";
import { bindPool, bindTables } from "./pool_gestures";
import { poolLegend } from "./pool_legend";
import { blockSentence, requestSentence, stepSentence } from "./pool_sentence";
import { ScrollCanvas } from "./scroll_canvas";
import { chipBox, paintTables, ROW, spotAt, tableLayout, type TablePicture, type TableSpot } from "./tables";
import type { View } from "./view";
import { WasteBar } from "./waste";
import type { PoolWire, Wire } from "./wire";
import { counted } from "./words";

const BESIDE = 620; // pixels from which pool and tables stand beside each other
const MANY = 1500; // blocks from which the pool gets the whole width
const BELOW_ROWS = 8; // tables that are seen at a time where they stand below the pool

export class PoolView implements View {
  readonly element: HTMLElement;
  pool: Pool | null = null;
  moment: Moment | null = null;
  layout: PoolLayout | null = null;
  block: number | null = null; // under the cursor, in the pool or in a table
  spot: TableSpot | null = null; // under the cursor in the tables
  readonly cells: ScrollCanvas;
  readonly tables: ScrollCanvas;
  private readonly waste = new WasteBar();
  private readonly detail = h("div", { class: "lw-kv-detail" });
  private readonly caption = h("p");
  private readonly row: HTMLElement;
  private palette: Palette | null = null;
  private theme: Theme | null = null;
  private width = 0;
  private marked = false; // whether marks are on the page
  private dirty = true; // whether the cells are to be painted anew, not only the marks over them

  constructor(
    readonly model: AnyModel,
    readonly moveStep: (by: number) => void,
    readonly changed: () => void,
    signal: AbortSignal,
  ) {
    this.cells = new ScrollCanvas("Blocks of the pool; arrow keys move", 2, () => this.repaint(), signal);
    this.tables = new ScrollCanvas("Block tables; arrow keys move", 1, () => changed(), signal);
    this.row = h("div", { class: "lw-kv-row" }, this.cells.element, h("div", { class: "lw-kv-tables" }, this.caption, this.tables.element));
    this.element = h("div", {}, this.row, this.waste.element, this.detail);
    bindPool(this, signal);
    bindTables(this, signal);
  }

  get count(): number {
    return this.pool?.count ?? 0;
  }

  read(wire: Wire): void {
    const pool = poolOf(wire as PoolWire, this.pool);
    if (pool !== this.pool) this.block = this.spot = null; // a run that goes on leaves the cursor where it is
    this.pool = pool;
    this.moment = null;
    this.relayout();
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.relayout();
  }

  setWidth(width: number): void {
    this.width = width;
    this.relayout();
  }

  /** Another selection or another step: the cells look different. */
  repaint(): void {
    this.dirty = true;
    this.changed();
  }

  get selectedBlock(): number | null {
    return this.model.get("selected_block") as number | null;
  }

  get selectedRequest(): string | null {
    return this.model.get("selected_request") as string | null;
  }

  select(traits: { selected_block?: number | null; selected_request?: string | null }): void {
    for (const [name, value] of Object.entries(traits)) this.model.set(name, value);
    this.model.save_changes();
  }

  point(block: number | null, spot: TableSpot | null): void {
    this.block = block;
    this.spot = spot;
    this.changed();
  }

  paint(step: number): void {
    const view = this.cells.view;
    if (!this.pool || !this.layout || !this.palette || !view.width) return; // in a hidden tab nothing has a size
    if (this.moment?.step !== step) {
      this.moment = this.pool.moment(step);
      this.dirty = true;
      this.follow();
    }
    const { cells, tables, moment, layout, palette } = this;
    if (this.dirty) paintCells(cells.context(0), this.cellPicture(true), view.y, view.height);
    this.dirty = false;
    const marks = { block: this.block, selected: this.selectedBlock, sequence: this.spot?.index === null ? this.spot.sequence : null };
    const marked = Object.values(marks).some((mark) => mark !== null);
    if (marked || this.marked) paintMarks(cells.context(1), moment, layout, palette, marks, view.y);
    this.marked = marked;
    const picture = this.tablePicture();
    tables.resize(this.tableHeight, picture.layout.width, picture.layout.height);
    paintTables(tables.context(0), picture, tables.view);
    this.caption.textContent = this.queues();
    this.detail.hidden = !this.pool.isRun; // given tables say nothing of tokens and hashes
    this.waste.show(moment.use, this.pool.facts.block_size === null ? "blocks" : "token slots");
    const texts = this.model.get("token_texts") as Record<string, string>;
    this.detail.replaceChildren(...detailParts(this.pool, moment, this.block ?? this.selectedBlock, texts));
  }

  title(): string {
    if (!this.pool) return "";
    const { num_blocks, null_block, block_size } = this.pool.facts;
    return `${counted(num_blocks - Number(null_block), "block")}${block_size === null ? "" : ` of ${counted(block_size, "token")}`}`;
  }

  sentence(): string {
    const { pool, moment, spot } = this;
    if (!pool || !moment) return "";
    if (this.block !== null) return blockSentence(pool, moment, this.block);
    if (spot) return requestSentence(pool, moment, pool.facts.sequences[spot.sequence]?.id ?? "", [spot.sequence]);
    if (this.selectedBlock !== null) return blockSentence(pool, moment, this.selectedBlock);
    const { selectedRequest } = this;
    if (selectedRequest !== null) return requestSentence(pool, moment, selectedRequest, this.sequencesOf(selectedRequest));
    return stepSentence(pool, moment);
  }

  legend(): HTMLElement[] {
    return this.pool && this.palette ? poolLegend(this.pool, this.palette) : [];
  }

  drawing(step: number): Drawing {
    this.paint(step);
    if (!this.pool) throw new Error("nothing is painted yet");
    return poolDrawing(this.pool, this.cellPicture(false), this.tablePicture(), this.sentence());
  }

  blockUnder(event: MouseEvent): number | null {
    const { x, y } = this.cells.at(event);
    return this.layout && blockAt(this.layout, x, y);
  }

  spotUnder(event: MouseEvent): TableSpot | null {
    const { x, y } = this.tables.at(event);
    return this.moment && spotAt(this.tablePicture(), x, y, this.tables.view.x);
  }

  /** Scroll to what the keyboard's cursor is on. */
  reveal(): void {
    if (this.layout && this.block !== null) this.cells.reveal(cellBox(this.layout, this.block));
    if (!this.spot || !this.moment) return;
    const { layout } = this.tablePicture();
    const row = this.moment.state.running.indexOf(this.spot.sequence);
    this.tables.reveal(chipBox(layout, row, this.spot.index ?? 0), layout.label);
  }

  private queues(): string {
    const { running, waiting } = this.moment!.state;
    const people = this.pool!.isRun ? `${running.length} running, ${waiting.length} waiting` : counted(running.length, "request");
    return `${people} · block tables: request, tokens, blocks in order`;
  }

  /** A cursor in the tables stays on its request, as long as that runs. */
  private follow(): void {
    if (!this.spot || !this.moment) return;
    const table = this.moment.state.tables.get(this.spot.sequence);
    if (!this.moment.state.running.includes(this.spot.sequence)) this.point(null, null);
    else if (this.spot.index !== null) this.point(table?.[this.spot.index] ?? null, this.spot);
  }

  private sequencesOf(name: string): number[] {
    return (this.pool?.facts.sequences ?? []).flatMap(({ id, request }, i) => (id === name || request === name ? [i] : []));
  }

  private cellPicture(numbered: boolean): CellPicture {
    const { moment, layout, palette, pool, selectedRequest } = this;
    const lit = selectedRequest === null ? null : new Set(this.sequencesOf(selectedRequest));
    return { moment: moment!, layout: layout!, palette: palette!, nullBlock: pool!.facts.null_block, lit, numbered };
  }

  private tablePicture(): TablePicture {
    const { moment, palette, lit } = this.cellPicture(true);
    const { facts } = this.pool!;
    const layout = tableLayout(moment, facts, this.tables.view.width);
    return { moment, facts, layout, palette, lit, selectedBlock: this.selectedBlock, spot: this.spot, block: this.block };
  }

  private get beside(): boolean {
    return this.width >= BESIDE && (this.pool?.facts.num_blocks ?? 0) <= MANY;
  }

  /** The same at each step, so that nothing jumps. */
  private get tableHeight(): number {
    const rows = Math.min(this.pool?.facts.max_rows ?? 1, BELOW_ROWS) * ROW + 14;
    return this.beside ? Math.max(rows, (this.layout?.viewHeight ?? 0) - 18) : rows;
  }

  private relayout(): void {
    if (!this.width || !this.pool || !this.theme) return;
    const { num_blocks, sequences } = this.pool.facts;
    this.palette = new Palette(this.theme, sequences);
    this.row.classList.toggle("lw-kv-beside", this.beside);
    const width = this.beside ? Math.floor(0.56 * this.width) : this.width;
    const room = num_blocks > MANY ? 520 : 368;
    let layout = poolLayout(num_blocks, width - 6, room);
    if (layout.height > layout.viewHeight) layout = poolLayout(num_blocks, width - 20, room); // a scroll bar
    this.layout = layout;
    this.cells.element.style.width = this.beside ? `${layout.width + 6}px` : "100%";
    this.cells.resize(layout.viewHeight + 6, layout.width, layout.height);
    this.marked = true; // their canvas gets its new size, too
    this.repaint();
  }
}
