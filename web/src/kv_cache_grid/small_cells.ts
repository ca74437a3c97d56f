// Paints cells of a few pixels straight into an image: ten thousand of them in a frame.

import type { CellPicture } from "./cells";
import { type Box, cellBox } from "./layout";
import { isLit, ringedBlocks, share } from "./look";
import { channels, mixed, type Tone } from "./palette";

/** Paint the blocks from `first` to `last`, not included, into the window that begins `top` pixels down. */
export function paintSmallCells(context: CanvasRenderingContext2D, picture: CellPicture, first: number, last: number, top: number): void {
  const { moment, layout, palette } = picture;
  const { state, owners } = moment;
  const { background, border, muted, foreground } = palette.theme;
  const sheet = new PixelSheet(context, top);
  const dim = (colour: string): string => (picture.lit ? mixed(colour, background, 0.72) : colour);
  const [paper, line, held] = [sheet.pixel(background), sheet.pixel(dim(border)), sheet.pixel(dim(palette.cached))];
  const bright = new Map<number, TonePixels>();
  const faint = new Map<number, TonePixels>();
  for (let block = first; block < last; block++) {
    const box = cellBox(layout, block);
    if (block === 0 && picture.nullBlock) sheet.frame(box, sheet.pixel(muted), paper);
    else if (!state.inUse(block)) sheet.frame(box, line, state.cached(block) ? held : paper);
    else {
      const lit = isLit(picture, block);
      const owner = owners.count(block) ? owners.at(block, 0) : -1;
      const known = lit ? bright : faint;
      let tone = known.get(owner);
      if (!tone) known.set(owner, (tone = tonePixels(sheet, owner < 0 ? palette.unknown : palette.tone(owner), lit ? String : dim)));
      const filled = box.height * share(picture, block);
      if (filled < box.height) sheet.fill(box, tone.weak);
      sheet.fill({ ...box, y: box.y + box.height - filled, height: filled }, tone.strong);
      if ((state.refCounts[block] ?? 0) > 1) sheet.fill(middle(box), paper);
    }
  }
  const [orange, ink] = [sheet.pixel(palette.orange), sheet.pixel(foreground)];
  for (const [block, ring] of ringedBlocks(moment.changes)) {
    if (block >= first && block < last) sheet.frame(cellBox(layout, block), ring === "evicted" ? orange : ink, null);
  }
  sheet.put();
}

interface TonePixels {
  strong: number;
  weak: number;
}

function tonePixels(sheet: PixelSheet, tone: Tone, change: (colour: string) => string): TonePixels {
  return { strong: sheet.pixel(change(tone.strong)), weak: sheet.pixel(change(tone.weak)) };
}

/** The spot of a shared block. */
function middle({ x, y, width, height }: Box): Box {
  const size = Math.max(1, Math.round(width / 3));
  return { x: x + Math.floor((width - size) / 2), y: y + Math.floor((height - size) / 2), width: size, height: size };
}

/** The pixels of a window, filled by rectangles in CSS pixels. */
class PixelSheet {
  private readonly image: ImageData;
  private readonly pixels: Uint32Array;
  private readonly ratio: number;

  constructor(
    private readonly context: CanvasRenderingContext2D,
    private readonly top: number,
  ) {
    this.image = context.createImageData(context.canvas.width, context.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.ratio = context.getTransform().a;
  }

  /** The pixel of an opaque CSS colour (little-endian RGBA). */
  pixel(colour: string): number {
    const [red, green, blue] = channels(colour).map(Math.round) as [number, number, number];
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  }

  fill({ x, y, width, height }: Box, pixel: number): void {
    const { ratio, image, pixels, top } = this;
    const [left, right] = [Math.round(x * ratio), Math.round((x + width) * ratio)];
    const from = Math.max(0, Math.round((y - top) * ratio));
    const to = Math.min(image.height, Math.round((y - top + height) * ratio));
    for (let row = from; row < to; row++) {
      // A plain loop: over a few pixels it is many times faster than TypedArray.fill.
      const end = row * image.width + right;
      for (let at = row * image.width + left; at < end; at++) pixels[at] = pixel;
    }
  }

  /** A line of one CSS pixel around a box, and its inside, unless that stays as it is. */
  frame(box: Box, line: number, inside: number | null): void {
    const { x, y, width, height } = box;
    if (inside !== null) {
      this.fill(box, line);
      this.fill({ x: x + 1, y: y + 1, width: width - 2, height: height - 2 }, inside);
      return;
    }
    for (const [dx, dy, w, h] of [[0, 0, width, 1], [0, height - 1, width, 1], [0, 0, 1, height], [width - 1, 0, 1, height]] as const) {
      this.fill({ x: x + dx, y: y + dy, width: w, height: h }, line);
    }
  }

  put(): void {
    this.context.putImageData(this.image, 0, 0);
  }
}
