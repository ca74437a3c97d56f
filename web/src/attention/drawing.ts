// The figure as an SVG sheet: labels and axes as vectors, the dense cells as one embedded image.

import { type Drawing, SvgSheet } from "../lib/download";
import { labels, type Picture } from "./paint";

/** Draw the picture for a paper or a slide; `sentence` stands below it. */
export function attentionDrawing(picture: Picture, image: HTMLCanvasElement, title: string, ticks: string[]): Drawing {
  const { layout, theme, facts } = picture;
  const width = layout.canvas.width + 16;
  const sheet = new SvgSheet(width, layout.canvas.height + 84, theme.background, theme.font);
  const { x, y, width: w, height } = layout.map;
  const down = 30;
  sheet.text(title, { x: 12, y: 20, "font-size": 13, "font-weight": 600, fill: theme.foreground });
  sheet.image(image, { x, y: y + down, width: w, height, style: "image-rendering: pixelated" });
  sheet.add("rect", { x, y: y + down, width: w, height, fill: "none", stroke: theme.border });
  for (const label of labels(picture)) {
    const turn = label.slanted ? `rotate(-60 ${label.x} ${label.y + down})` : "";
    const anchor = label.slanted ? "start" : "end";
    const place = { x: label.x, y: label.y + down, transform: turn, "text-anchor": anchor };
    sheet.text(label.text, { ...place, "font-size": 11, "dominant-baseline": "middle", fill: theme.muted });
  }
  const foot = y + down + height + 22;
  const text = { "font-size": 11, fill: theme.muted };
  sheet.text(`rows: query tokens (${facts.query_positions.length}), columns: key tokens (${facts.tokens.length})`, {
    ...text,
    x: 12,
    y: foot,
  });
  sheet.text(`colour: attention weight, share of 1: ${ticks.join(", ")}`, { ...text, x: 12, y: foot + 16 });
  return sheet.drawing();
}
