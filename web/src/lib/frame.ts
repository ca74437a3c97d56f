// What every widget has around its figure: title, badge, help, downloads, legend and the one sentence.

import type { AnyModel } from "@anywidget/types";
import { h } from "./dom";
import { download, type Drawing, toPng } from "./download";
import css from "./frame.css";

export interface FrameParts {
  /** Short name of the figure, such as "Attention". */
  title: string;
  /** Each encoding with what it means, for the `?`. */
  help: [string, string][];
  /** The figure as vectors, made when the user downloads it. */
  drawing: () => Drawing;
}

export interface Frame {
  root: HTMLElement;
  figure: HTMLElement;
  legend: HTMLElement;
  setTitle(title: string, detail?: string): void;
  setSentence(text: string): void;
}

/** Build the frame inside `el`. The badge follows the model's trait of that name. */
export function frame(model: AnyModel, el: HTMLElement, parts: FrameParts, signal: AbortSignal): Frame {
  const detail = h("small");
  const title = h("span", { class: "lw-title" }, parts.title, detail);
  const badge = h("span", { class: "lw-badge" });
  const figure = h("div", { class: "lw-figure" });
  const legend = h("div", { class: "lw-legend" });
  const sentence = h("p", { class: "lw-sentence", role: "status", "aria-live": "polite" });
  const head = h("div", { class: "lw-head" }, title, badge, helpMenu(parts), saveMenu(parts));
  const foot = h("div", { class: "lw-foot" }, sentence, legend);
  const root = h("section", { class: "lw", "aria-label": parts.title }, h("style", {}, css), head, figure, foot);
  el.replaceChildren(root);

  const showBadge = (): void => {
    badge.textContent = String(model.get("badge"));
    badge.title = BADGES[String(model.get("badge"))] ?? "";
  };
  showBadge();
  model.on("change:badge", showBadge);
  signal.addEventListener("abort", () => model.off("change:badge", showBadge));
  // A menu closes when the user goes on elsewhere.
  root.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(root), { signal });
  root.addEventListener("pointerdown", (event) => closeMenus(root, event.target as Node), { signal });

  return {
    root,
    figure,
    legend,
    setTitle: (text, more = "") => {
      title.replaceChildren(text, detail);
      detail.textContent = more;
    },
    setSentence: (text) => {
      if (sentence.textContent !== text) sentence.textContent = text;
    },
  };
}

const BADGES: Record<string, string> = {
  MEASURED: "These numbers come from a real run of a real model.",
  COUNTED: "These numbers were counted by replaying a schedule; no model ran.",
  MODELLED: "These numbers come from a formula, not from a run.",
  RECORDED: "These numbers were recorded from another engine.",
  GIVEN: "These numbers were passed in by the caller.",
};

function helpMenu(parts: FrameParts): HTMLElement {
  const rows = parts.help.map(([term, meaning]) => h("dl", {}, h("dt", {}, term), h("dd", {}, meaning)));
  const summary = h("summary", { "aria-label": "What the figure shows", title: "What the figure shows" }, "?");
  return h("details", { class: "lw-menu lw-help" }, summary, h("div", {}, ...rows));
}

function saveMenu(parts: FrameParts): HTMLElement {
  const svg = h("button", { type: "button" }, "SVG");
  const png = h("button", { type: "button" }, "PNG");
  const name = parts.title.toLowerCase().replace(/\W+/g, "-");
  svg.onclick = () => download(new Blob([parts.drawing().svg], { type: "image/svg+xml" }), `${name}.svg`);
  png.onclick = () => void toPng(parts.drawing()).then((blob) => download(blob, `${name}.png`));
  const summary = h("summary", { "aria-label": "Download the figure", title: "Download the figure" }, "⤓");
  return h("details", { class: "lw-menu lw-save" }, summary, h("div", {}, svg, png));
}

function closeMenus(root: HTMLElement, except?: Node): void {
  for (const menu of root.querySelectorAll("details[open]")) {
    if (!except || !menu.contains(except)) menu.removeAttribute("open");
  }
}
