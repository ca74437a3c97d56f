// The state of one heatmap on the page: what is shown, what is chosen, and painting it.

import type { AnyModel } from "@anywidget/types";
import { pixelTable, type Scale } from "../lib/colours";
import type { Frame } from "../lib/frame";
import { rampLegend, swatch } from "../lib/ramp_legend";
import type { Theme } from "../lib/theme";
import { HeadCache, HeadMap, type MapWire } from "./head_map";
import { layout, type Layout, type View } from "./layout";
import { type Cell, cellImage, type Facts, paintCursor, paintMap, type Picture } from "./paint";
import { cellSentence, headName, pinnedSentence, restSentence, sinkShare } from "./sentence";
import type { TextStrip } from "./strip";
import { paintThumbnails, thumbnailSheet, type ThumbnailWire } from "./thumbnails";

const CACHE_BYTES = 16 * 2 ** 20;

export interface Elements {
  frame: Frame;
  strip: TextStrip;
  map: HTMLElement;
  plot: HTMLElement;
  panel: HTMLElement;
  heads: HTMLCanvasElement;
  cells: HTMLCanvasElement;
  cursor: HTMLCanvasElement;
}

export class Scene {
  facts!: Facts;
  layout: Layout | null = null;
  view: View = { rowStart: 0, rowStop: 1, columnStart: 0, columnStop: 1 };
  cell: Cell | null = null; // under the pointer or the keyboard's cursor
  changed: () => void = () => {};
  image: HTMLCanvasElement | null = null;
  private dom!: Elements;
  private map: HeadMap | null = null;
  private theme!: Theme;
  private pixels!: Uint32Array;
  private sheet: HTMLCanvasElement | null = null;
  private sheetDirty = true;
  private width = 0;
  private hoveredToken: number | null = null;
  private readonly cache = new HeadCache(CACHE_BYTES);

  constructor(readonly model: AnyModel) {}

  attach(dom: Elements): void {
    this.dom = dom;
    dom.frame.figure.append(dom.strip.element, dom.plot);
  }

  get rows(): number {
    return this.facts.query_positions.length;
  }

  get columns(): number {
    return this.facts.tokens.length;
  }

  /** A new record: everything that was loaded belongs to the old one. */
  readFacts(): void {
    const facts = this.model.get("_facts") as Facts;
    if (!facts.tokens || facts.revision === this.facts?.revision) return;
    this.facts = facts;
    this.cache.clear();
    for (const wire of (this.model.get("_all_maps") ?? []) as MapWire[]) this.cache.add(new HeadMap(wire));
    this.cell = null;
    this.hoveredToken = null;
    this.sheetDirty = true;
    this.view = { rowStart: 0, rowStop: this.rows, columnStart: 0, columnStop: this.columns };
    this.dom.panel.hidden = facts.layers.length * facts.heads.length < 2;
    this.relayout();
  }

  readMap(): void {
    const wire = this.model.get("_map") as MapWire;
    if (!wire.cells) return;
    const map = new HeadMap(wire);
    if (!this.facts.tiled) this.cache.add(map);
    this.setMap(map);
  }

  readThumbnails(): void {
    this.sheetDirty = true;
    this.changed();
  }

  /** Another layer or head was chosen: paint it at once if it was loaded before. */
  followHead(): void {
    const loaded = this.cache.get(this.model.get("layer"), this.model.get("head"));
    if (loaded) this.setMap(loaded);
    this.changed();
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.restyle();
  }

  restyle(): void {
    this.pixels = pixelTable(this.scale, this.theme.dark);
    this.image = null;
    this.sheetDirty = true;
    const overlay = this.model.get("overlay") as boolean;
    const hatched = "background: repeating-linear-gradient(135deg, var(--lw-border) 0 1px, transparent 1px 4px)";
    this.dom.frame.legend.replaceChildren(
      rampLegend("weight, share of 1", this.scale, this.theme.dark),
      ...(overlay ? [swatch(`${hatched}; border: 1px solid var(--lw-border)`, "masked")] : []),
    );
    this.changed();
  }

  setWidth(width: number): void {
    this.width = width;
    this.relayout();
  }

  choose(layer: number, head: number): void {
    if (!this.model.get("_kernel") && !this.cache.get(layer, head)) return;
    this.model.set("layer", layer);
    this.model.set("head", head);
    this.model.save_changes();
  }

  headKey(event: KeyboardEvent): void {
    const moves: Record<string, [number, number]> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    this.stepHead(...move);
  }

  stepHead(layers: number, heads: number): void {
    const { facts } = this;
    const layer = facts.layers[facts.layers.indexOf(this.model.get("layer")) + layers];
    const head = facts.heads[facts.heads.indexOf(this.model.get("head")) + heads];
    if (layer !== undefined && head !== undefined) this.choose(layer, head);
  }

  setView(view: View): void {
    this.view = view;
    this.image = null;
    if (this.facts.tiled && this.model.get("_kernel")) {
      this.model.set("_view", [view.rowStart, view.rowStop, view.columnStart, view.columnStop]);
      this.model.save_changes();
    }
    this.changed();
  }

  moveTo(cell: Cell | null): void {
    this.cell = cell;
    this.hoveredToken = null;
    this.changed();
  }

  hoverToken(position: number | null): void {
    this.hoveredToken = position;
    this.changed();
  }

  togglePinAt(position: number): void {
    if (!this.facts.query_positions.includes(position)) return;
    const pinned = this.pinned;
    const next = pinned.includes(position) ? pinned.filter((other) => other !== position) : [...pinned, position];
    this.select(next, position);
  }

  clear(): void {
    this.cell = null;
    this.select([], null);
  }

  get pinned(): number[] {
    return (this.model.get("pinned_tokens") ?? []) as number[];
  }

  get title(): string {
    return this.map ? headName(this.map, this.facts) : "";
  }

  picture(): Picture | null {
    const { map, layout: place, theme, pixels, facts, view } = this;
    if (!map || !place) return null;
    return { map, facts, view, layout: place, theme, pixels, overlay: this.model.get("overlay") as boolean };
  }

  paint(): void {
    const picture = this.picture();
    if (!picture) return;
    if (!this.image) {
      this.image = cellImage(picture);
      paintMap(this.dom.cells, picture, this.image);
    }
    const rows = this.chosenRows();
    const marked = this.pinned.length ? rows : [];
    paintCursor(this.dom.cursor, picture, this.cell, marked);
    const sum = (position: number): number => rows.reduce((total, row) => total + picture.map.weight(row, position), 0);
    const chosen = rows.map((row) => this.facts.query_positions[row] ?? 0);
    const scaled = (position: number): number => sum(position) / Math.max(1, rows.length);
    this.dom.strip.show(this.facts, chosen.at(-1) ?? 0, chosen, scaled);
    this.paintHeads(picture);
    this.describe(picture, rows, sum);
  }

  private describe(picture: Picture, rows: number[], sum: (position: number) => number): void {
    const { map, facts } = picture;
    const sink = sinkShare(map, facts);
    const first = sink ? ` · the first token takes ${Math.round(100 * sink)}% on average` : "";
    this.dom.frame.setTitle("Attention", `layer ${map.layer}, head ${map.head}${first}`);
    this.dom.frame.setSentence(this.sentence(map, rows, sum));
  }

  private sentence(map: HeadMap, rows: number[], sum: (position: number) => number): string {
    const { facts } = this;
    const column = this.hoveredToken ?? this.cell?.column;
    if (column === undefined) return restSentence(map, facts);
    if (this.pinned.length) return pinnedSentence(map, facts, rows, column, sum(column));
    const row = this.hoveredToken === null ? this.cell?.row : rows.at(-1);
    return cellSentence(map, facts, { row: row ?? 0, column });
  }

  private paintHeads({ map, facts, layout: place, theme }: Picture): void {
    if (this.dom.panel.hidden) return;
    if (this.sheetDirty) {
      const wire = this.model.get("_thumbnails") as ThumbnailWire;
      const current = wire.revision === facts.revision;
      this.sheet = current ? thumbnailSheet(wire, this.pixels) : null;
      this.sheetDirty = false;
      if (!current && this.model.get("_kernel")) {
        // Asked for only now, so that the large map never waits for the small ones.
        this.model.set("_thumbnails_wanted", facts.revision);
        this.model.save_changes();
      }
    }
    paintThumbnails(this.dom.heads, place, facts, theme, this.sheet, map);
  }

  /** The rows whose weights shade the strip: the pinned ones, else the one under the cursor, else the selected. */
  private chosenRows(): number[] {
    const rowOf = (position: number): number => this.facts.query_positions.indexOf(position);
    if (this.pinned.length) return this.pinned.map(rowOf).filter((row) => row >= 0);
    if (this.cell) return [this.cell.row];
    const selected = this.model.get("selected_token") as number | null;
    const row = selected === null ? -1 : rowOf(selected);
    return [row >= 0 ? row : this.rows - 1];
  }

  private select(pinned: number[], selected: number | null): void {
    this.model.set("pinned_tokens", pinned);
    this.model.set("selected_token", selected);
    this.model.save_changes();
    this.changed();
  }

  private setMap(map: HeadMap): void {
    this.map = map;
    this.image = null;
    this.changed();
  }

  private relayout(): void {
    if (!this.width || !this.facts) return;
    const { facts } = this;
    this.layout = layout(this.width, this.rows, this.columns, facts.layers.length, facts.heads.length);
    this.dom.plot.classList.toggle("lw-narrow", !this.layout.beside);
    this.image = null;
    this.changed();
  }

  get scale(): Scale {
    return this.model.get("scale") as Scale;
  }
}
