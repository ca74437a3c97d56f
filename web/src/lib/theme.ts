// The colours of the page around us, resolved for a canvas, and a call when they change.

export interface Theme {
  dark: boolean;
  foreground: string;
  muted: string;
  background: string;
  border: string;
  accent: string;
  font: string;
}

/** Read the theme at `root`, an element with the class `lw`, and settle its own colours on light or dark. */
export function readTheme(root: HTMLElement): Theme {
  // A custom property is computed as text (`light-dark(...)`); only a real property resolves it to a colour.
  const probe = document.createElement("span");
  probe.style.display = "none";
  root.append(probe);
  const colour = (name: string): string => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  root.style.colorScheme = "";
  const dark = luminance(colour("--lw-bg")) < 0.4;
  // The background of the host decides, for a host may be dark on a system that prefers light.
  root.style.colorScheme = dark ? "dark" : "light";
  const theme = {
    dark,
    foreground: colour("--lw-fg"),
    muted: colour("--lw-muted"),
    background: colour("--lw-bg"),
    border: colour("--lw-border"),
    accent: colour("--lw-accent"),
    font: getComputedStyle(root).fontFamily,
  };
  probe.remove();
  return theme;
}

/** Call `changed` whenever the page may have switched between light and dark. */
export function watchTheme(changed: () => void, signal: AbortSignal): void {
  const observer = new MutationObserver(changed);
  const attributes = ["class", "style", "theme", "data-theme", "data-jp-theme-light", "data-vscode-theme-kind"];
  for (const node of [document.documentElement, document.body]) {
    observer.observe(node, { attributes: true, attributeFilter: attributes });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed, { signal });
  signal.addEventListener("abort", () => observer.disconnect());
}

/** The relative brightness of a computed colour, 0 for black and 1 for white. */
export function luminance(colour: string): number {
  const [red = 255, green = 255, blue = 255] = (colour.match(/[\d.]+/g) ?? []).map(Number);
  // Chromium writes some computed colours as color(srgb r g b) with parts from 0 to 1.
  const scale = colour.startsWith("color(") ? 1 : 255;
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / scale;
}
