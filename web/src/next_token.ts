// Wiring of NextToken: reads traits, calls the pure parts in next_token/, writes step and picks back.

import type { AnyModel, RenderProps } from "@anywidget/types";
import { h, sizeCanvas } from "./lib/dom";
import { SvgSheet } from "./lib/download";
import { frame } from "./lib/frame";
import { swatch } from "./lib/ramp_legend";
import { oncePerFrame, watchWidth } from "./lib/schedule";
import { readTheme, type Theme, watchTheme } from "./lib/theme";
import { visible } from "./lib/tokens";
import { Steps, type StepsWire } from "./next_token/candidates";
import css from "./next_token/next_token.css";
import { bars, drawStrip, type Facts, rowsOf, sentence, textParts } from "./next_token/view";

const HELP: [string, string][] = [
  ["Text", "Grey: the prompt. Underlined: new tokens; click one to see its step. Orange: picked by hand."],
  ["Columns", "Entropy of each step in bits: how unsure the choice was. Click to go to a step."],
  ["Outline", "The model's own probability of the token."],
  ["Filled", "The probability that the token was drawn with, after penalties, temperature and cuts."],
  ["Dashed, grey", "Taken out by the named stage: it could not be drawn."],
  ["Strip", "All probabilities laid end to end from 0 to 1; the token under the drawn number u is the next one."],
  ["Keys", "Left and right change the step, up and down move over the candidates, Enter goes on with one, Escape undoes."],
];

function render({ model: given, el, signal: outer }: RenderProps): () => void {
  const model = given as AnyModel;
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  let steps: Steps | null = null;
  let cursor: number | null = null;
  let theme: Theme;
  let width = 0;

  const around = frame(model, el, { title: "Next token", help: HELP, drawing: () => drawing() }, signal);
  const text = h("div", { class: "lw-text" });
  const entropy = h("canvas", { class: "lw-entropy" });
  const table = h("div", { class: "lw-bars" });
  const strip = h("div", { class: "lw-draw" });
  const plot = h("div", { tabindex: 0, role: "application", "aria-label": "Candidates of a step; arrow keys move" });
  plot.append(entropy, table, strip);
  around.root.append(h("style", {}, css));
  around.figure.append(text, plot);
  around.legend.append(
    swatch("border: 1.5px solid var(--lw-muted)", "model's probability"),
    swatch("background: var(--lw-accent)", "probability drawn from (share of 1)"),
  );

  const facts = (): Facts => model.get("_facts") as Facts;
  const step = (): number => Math.min(model.get("step") as number, (steps?.count ?? 1) - 1);
  const go = (to: number): void => {
    if (!steps) return;
    cursor = null;
    model.set("step", Math.max(0, Math.min(steps.count - 1, to)));
    model.save_changes();
    paint();
  };
  const pick = (index: number): void => {
    if (!steps) return;
    const before = steps.wire.chosen.slice(0, step()).map((chosen, i) => steps?.candidates(i)[chosen]?.tokenId ?? 0);
    const token = steps.candidates(step())[index]?.tokenId;
    if (token === undefined || !model.get("_kernel")) return;
    model.set("output_prefix", [...before, token]);
    model.save_changes();
  };
  const rows = () => (steps ? rowsOf(steps.candidates(step()), steps.wire.chosen[step()] ?? 0) : []);

  const draw = (): void => {
    if (!steps || !width) return;
    const now = step();
    const list = steps.candidates(now);
    text.replaceChildren(...textParts(facts(), steps, now));
    table.replaceChildren(...bars(list, steps.wire.chosen[now] ?? 0, cursor));
    strip.replaceChildren(...drawStrip(list, steps.wire.uniforms[now] ?? null));
    paintEntropy(entropy, steps, now, width, theme);
    around.setTitle("Next token", `step ${now + 1} of ${steps.count} · ${steps.wire.stages.slice(1).join(" → ") || "the model as it is"}`);
    around.setSentence(sentence(facts(), steps, now, cursor === null ? null : (rows()[cursor] ?? null)));
  };
  const paint = oncePerFrame(draw, signal);
  const drawing = () => {
    const sheet = new SvgSheet(640, 60 + 22 * rows().length, theme.background, theme.font);
    sheet.text(`Next token, step ${step() + 1}`, { x: 12, y: 22, "font-size": 13, "font-weight": 600, fill: theme.foreground });
    const most = Math.max(...rows().map((row) => Math.max(row.model, row.drawn)), 1e-6);
    rows().forEach((row, i) => {
      const y = 40 + 22 * i;
      sheet.text(visible(row.text, 16), { x: 150, y: y + 12, "text-anchor": "end", "font-size": 12, fill: theme.foreground });
      sheet.add("rect", { x: 160, y: y + 2, width: (360 * row.drawn) / most, height: 13, fill: theme.accent });
      sheet.add("rect", { x: 160, y, width: (360 * row.model) / most, height: 17, fill: "none", stroke: theme.muted });
      sheet.text(row.drawn.toFixed(3), { x: 540, y: y + 12, "font-size": 12, fill: theme.muted });
    });
    return sheet.drawing();
  };
  const read = (): void => {
    const wire = model.get("_steps") as StepsWire;
    if (!wire.texts) return;
    steps = new Steps(wire);
    cursor = null;
    paint();
  };
  const key = (event: KeyboardEvent): void => {
    const last = rows().length - 1;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => go(step() - 1),
      ArrowRight: () => go(step() + 1),
      Home: () => go(0),
      End: () => go(Infinity),
      ArrowDown: () => (cursor = cursor === null ? 0 : Math.min(last, cursor + 1)),
      ArrowUp: () => (cursor = cursor === null ? last : Math.max(0, cursor - 1)),
      Enter: () => pick(rows()[cursor ?? -1]?.index ?? -1),
      Escape: () => {
        cursor = null;
        model.set("output_prefix", []);
        model.save_changes();
      },
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
    action();
    paint();
  };
  plot.addEventListener("keydown", key, { signal });
  text.addEventListener("click", (event) => {
    const at = (event.target as HTMLElement).dataset["step"];
    if (at !== undefined) go(Number(at));
  }, { signal });
  table.addEventListener("click", (event) => {
    const line = (event.target as HTMLElement).closest<HTMLElement>("[data-candidate]");
    if (line) pick(Number(line.dataset["candidate"]));
  }, { signal });
  table.addEventListener("pointerover", (event) => {
    const line = (event.target as HTMLElement).closest<HTMLElement>("[data-candidate]");
    const index = line ? rows().findIndex((row) => row.index === Number(line.dataset["candidate"])) : -1;
    if (index >= 0 && steps) around.setSentence(sentence(facts(), steps, step(), rows()[index] ?? null));
  }, { signal });
  entropy.addEventListener("pointerdown", (event) => {
    if (steps) go(Math.floor((event.offsetX / entropy.clientWidth) * steps.count));
  }, { signal });

  for (const [event, listener] of [["_steps", read], ["step", paint], ["_facts", paint]] as const) {
    model.on(`change:${event}`, listener);
    signal.addEventListener("abort", () => model.off(`change:${event}`, listener));
  }
  const settle = (): void => {
    theme = readTheme(around.root);
    paint();
  };
  watchTheme(settle, signal);
  watchWidth(around.figure, (now) => {
    width = now;
    settle();
  }, signal);
  settle();
  read();
  return () => own.abort();
}

/** A column a step, as high as its entropy; the shown step stands out. */
function paintEntropy(canvas: HTMLCanvasElement, steps: Steps, now: number, width: number, theme: Theme): void {
  const height = 54;
  const context = sizeCanvas(canvas, width, height);
  const most = Math.max(1, ...steps.wire.entropies);
  const column = width / steps.count;
  steps.wire.entropies.forEach((entropy, i) => {
    const high = Math.max(1.5, ((height - 18) * entropy) / most);
    context.fillStyle = i === now ? theme.accent : theme.muted;
    context.globalAlpha = i === now ? 1 : 0.45;
    context.fillRect(i * column + 1, height - high, Math.max(1, Math.min(28, column - 2)), high);
  });
  context.globalAlpha = 1;
  context.fillStyle = theme.muted;
  context.font = `11px ${theme.font}`;
  context.fillText(`entropy, bits (highest ${most.toFixed(2)})`, 2, 11);
}

export default { render };
