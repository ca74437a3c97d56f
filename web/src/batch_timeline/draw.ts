// Puts labels and lines on a canvas.

import type { Theme } from "../lib/theme";
import type { Label, Line } from "./labels";

type Context = CanvasRenderingContext2D;

export function drawLine(context: Context, { x1, y1, x2, y2, colour, dash }: Line): void {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.setLineDash(dash);
  context.beginPath();
  // On half pixels a line of one pixel is sharp.
  context.moveTo(Math.floor(x1) + 0.5, Math.floor(y1) + 0.5);
  context.lineTo(Math.floor(x2) + 0.5, Math.floor(y2) + 0.5);
  context.stroke();
  context.setLineDash([]);
}

export function drawLabel(context: Context, { text, x, y, anchor, size, weight, colour }: Label, theme: Theme): void {
  context.direction = "ltr";
  context.font = `${weight} ${size}px ${theme.font}`;
  context.fillStyle = colour;
  context.textBaseline = "middle";
  context.textAlign = anchor === "middle" ? "center" : anchor;
  context.fillText(text, x, y);
}
