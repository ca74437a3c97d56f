// The drawing: dials above, charts below, as one SVG in the page and one to download.

import { type Drawing, SvgSheet } from "../lib/download";
import type { Theme } from "../lib/theme";
import { type Curve, lossCurve, lossMarker, scoreCurve, scoreMarker } from "./chart_marks";
import { dialMarks, largeDialMarks } from "./dial_marks";
import type { Dials, View } from "./dials";
import { type Layout, layout } from "./layout";
import { type Mark, show, write } from "./marks";
import { type Palette, palette } from "./palette";

const SVG = "http://www.w3.org/2000/svg";
const GROUPS = ["large", "dials", "score", "loss", "markers"] as const;

export class Picture {
  readonly svg = document.createElementNS(SVG, "svg");
  layout: Layout | null = null;
  score: Curve | null = null;
  loss: Curve | null = null;
  private readonly groups = GROUPS.map(() => document.createElementNS(SVG, "g"));
  private palette: Palette | null = null;
  private still = ""; // for what the charts were drawn

  constructor() {
    this.svg.append(...this.groups);
    this.svg.setAttribute("aria-hidden", "true"); // the sentence says what it shows
  }

  /** Lay the figure out anew: another width, other data, another theme. */
  arrange(dials: Dials, width: number, theme: Theme): void {
    this.layout = layout(width, dials.pairs, dials.hasVectors ? 4 : 3, dials.hasScores, dials.facts.loss !== null);
    this.palette = palette(theme);
    this.still = "";
    this.svg.setAttribute("width", String(width));
    this.svg.setAttribute("height", String(this.layout.height));
    this.svg.setAttribute("font-family", theme.font);
  }

  paint(dials: Dials, view: View, pointed: number | null): void {
    const [large, small, score, loss, markers] = this.groups;
    if (!this.layout || !this.palette || !large || !small || !score || !loss || !markers) return;
    show(large, largeDialMarks(dials, view, this.layout, this.palette, pointed));
    show(small, dialMarks(dials, view, this.layout, this.palette, pointed));
    const length = dials.followsLength(view.scaling) ? view.position : 0;
    const still = [view.query, view.key, view.scaling, dials.shown(view), length].join(" ");
    if (still !== this.still) {
      this.still = still;
      this.score = this.layout.score && scoreCurve(dials, view, this.layout.score, this.palette);
      this.loss = this.layout.loss && lossCurve(dials, view, this.layout.loss, this.palette);
      show(score, this.score?.still ?? []);
      show(loss, this.loss?.still ?? []);
    }
    show(markers, this.markers(dials, view));
  }

  /** What is drawn, as a file. */
  drawing(dials: Dials, view: View, title: string): Drawing {
    const { layout: arranged, palette: colours } = this;
    if (!arranged || !colours) throw new Error("nothing is painted yet");
    const { theme } = colours;
    const down = 34;
    const sheet = new SvgSheet(arranged.width + 16, arranged.height + down + 34, theme.background, theme.font);
    sheet.text(title, { x: 12, y: 21, "font-size": 13, "font-weight": 600, fill: theme.foreground });
    const marks: Mark[] = [
      ...largeDialMarks(dials, view, arranged, colours, null),
      ...dialMarks(dials, view, arranged, colours, null),
      ...(this.score?.still ?? []),
      ...(this.loss?.still ?? []),
      ...this.markers(dials, view),
    ];
    write(sheet, marks, down);
    const key = "filled tip: query; open tip: key; between them: what the score sees; ring: angles that training reached";
    const foot = { x: 12, y: arranged.height + down + 20, "font-size": 11, fill: theme.muted };
    sheet.text(`${key}; under a dial: positions of one turn`, foot);
    return sheet.drawing();
  }

  private markers(dials: Dials, view: View): Mark[] {
    const { layout: arranged, palette: colours, score, loss } = this;
    if (!arranged || !colours) return [];
    return [
      ...(score && arranged.score ? scoreMarker(dials, view, score, arranged.score, colours) : []),
      ...(loss && arranged.loss ? lossMarker(view, loss, arranged.loss, colours) : []),
    ];
  }
}
