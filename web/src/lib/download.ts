// A figure as a file: SVG with text and axes as vectors, and a PNG made from that SVG.

export interface Drawing {
  svg: string;
  width: number;
  height: number;
}

type Attributes = Record<string, string | number>;

/** Collects SVG elements as text. Every attribute and text is escaped. */
export class SvgSheet {
  private readonly parts: string[] = [];

  constructor(
    readonly width: number,
    readonly height: number,
    background: string,
    private readonly font: string,
  ) {
    this.add("rect", { width, height, fill: background });
  }

  add(tag: string, attributes: Attributes): void {
    this.parts.push(`<${tag}${written(attributes)}/>`);
  }

  text(content: string, attributes: Attributes): void {
    this.parts.push(`<text${written(attributes)}>${escaped(content)}</text>`);
  }

  /** A dense block of cells as one embedded image. */
  image(canvas: HTMLCanvasElement, attributes: Attributes): void {
    this.add("image", { ...attributes, href: canvas.toDataURL("image/png"), preserveAspectRatio: "none" });
  }

  drawing(): Drawing {
    const { width, height } = this;
    const open = { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height };
    const svg = `<svg${written({ ...open, "font-family": this.font })}>${this.parts.join("")}</svg>`;
    return { svg, width, height };
  }
}

/** Paint a drawing at twice its size. */
export async function toPng(drawing: Drawing): Promise<Blob> {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([drawing.svg], { type: "image/svg+xml" }));
  try {
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * drawing.width;
    canvas.height = 2 * drawing.height;
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser made no PNG")))),
    );
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Offer `blob` as a download named `name`. */
export function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function written(attributes: Attributes): string {
  return Object.entries(attributes).map(([name, value]) => ` ${name}="${escaped(String(value))}"`).join("");
}

function escaped(text: string): string {
  // Characters that XML 1.0 forbids would make the whole file unreadable.
  const legal = text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
  return legal.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
