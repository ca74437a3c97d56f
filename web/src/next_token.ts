// Wiring of NextToken: reads traits, calls the parts in next_token/, writes step, stage, scale and picks back.

import type { AnyModel, RenderProps } from "@anywidget/types";
import { h } from "./lib/dom";
import { frame } from "./lib/frame";
import { swatch } from "./lib/ramp_legend";
import { oncePerFrame, watchWidth } from "./lib/schedule";
import { readTheme, type Theme, watchTheme } from "./lib/theme";
import type { Scale } from "./next_token/axis";
import { Bars, rowsOf } from "./next_token/bars";
import { DrawStrip } from "./next_token/draw_strip";
import { paintEntropy, stepAt } from "./next_token/entropy";
import { stepDrawing } from "./next_token/export";
import css from "./next_token/next_token.css";
import { candidateSentence, stepSentence } from "./next_token/sentence";
import { StageLine } from "./next_token/stages";
import { type Facts, stageIndex, type Step, Steps, type StepsWire, type WhatIfWire } from "./next_token/steps";
import { TextPanel } from "./next_token/text_panel";

const HELP: [string, string][] = [
  ["Text", "Grey: the prompt. Underlined: new tokens; click one to see its step. Orange: picked by hand."],
  ["Columns", "Entropy of each step in bits, how unsure the choice was: the model's own as an outline, filled after all stages. Click or drag to go to a step."],
  ["Tokens left", "The sampling stages in their order, each with the number of tokens that it left. Click one to see the bars after it."],
  ["Outline", "The model's own probability of the token, a share of 1."],
  ["Filled", "The probability after the chosen stage, by default the last: what the token is drawn from."],
  ["Dashed, grey", "Taken out by the named stage: it cannot be drawn."],
  ["Strip", "All probabilities laid end to end from 0 to 1, the most probable first; the token under the drawn number u is the next one. Hatched: the rest of the vocabulary."],
  ["Other settings", "While a knob is dragged the shown step follows at once; the tokens after it follow when the engine has run."],
  ["Keys", "Left and right change the step, up and down move over the candidates, Enter goes on with one, Escape undoes; [ and ] change the stage, L the scale."],
];

function render({ model: given, el, signal: outer }: RenderProps): () => void {
  const model = given as AnyModel;
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  let steps: Steps | null = null;
  let cursor: number | null = null; // row under the keyboard's cursor
  let hovered: number | null = null; // row under the pointer
  let theme: Theme;
  let width = 0;

  const facts = (): Facts => model.get("_facts") as Facts;
  const scale = (): Scale => model.get("scale") as Scale;
  const index = (): number => Math.min(model.get("step") as number, (steps?.count ?? 1) - 1);
  const current = (): Step | null => steps && steps.at(index(), model.get("_what_if") as Partial<WhatIfWire>);
  const set = (name: string, value: unknown): void => {
    model.set(name, value);
    model.save_changes();
    paint();
  };
  const go = (to: number): void => {
    if (!steps) return;
    cursor = null;
    set("step", Math.max(0, Math.min(steps.count - 1, to)));
  };
  const pick = (row: number | null): void => {
    const step = current();
    const candidate = step && row !== null ? rowsOf(step)[row] : undefined;
    if (!steps || !candidate || !model.get("_kernel")) return;
    set("output_prefix", [...steps.tokenIds(index()), candidate.tokenId]);
  };
  const undo = (): void => {
    cursor = null;
    set("output_prefix", []);
  };
  const stepStage = (by: number): void => {
    const step = current();
    if (!step) return;
    const to = Math.max(0, Math.min(step.stages.length - 1, stageIndex(step, model.get("stage")) + by));
    set("stage", step.stages[to]);
  };
  const toggleScale = (): void => set("scale", scale() === "log" ? "linear" : "log");

  const drawing = () => {
    const step = current();
    if (!step || !steps) throw new Error("nothing is painted yet");
    return stepDrawing(step, stageIndex(step, model.get("stage")), scale(), facts(), steps.wire, theme);
  };
  const around = frame(model, el, { title: "Next token", help: HELP, drawing }, signal);
  const text = new TextPanel(go, signal);
  const entropy = h("canvas", { class: "lw-nt-entropy" });
  const stages = new StageLine((stage) => set("stage", stage), signal);
  const bars = new Bars();
  const strip = new DrawStrip();
  const plot = h("div", { tabindex: 0, role: "application", "aria-label": "Candidates of a step; arrow keys move" });
  const logarithmic = h("button", { type: "button", title: "Lengths by the logarithm, so that small probabilities show (L)" }, "log scale");
  const undoPick = h("button", { type: "button", title: "Let the model choose every token again (Escape)" }, "undo pick");
  plot.append(entropy, stages.element, bars.element, strip.element);
  around.root.classList.add("lw-nt");
  around.root.append(h("style", {}, css));
  around.figure.append(text.element, plot);
  around.legend.append(
    swatch("border: 1.5px solid var(--lw-muted)", "model's probability, share of 1"),
    swatch("background: var(--lw-accent)", "probability drawn from"),
    swatch("border: 1.5px dashed var(--lw-muted)", "taken out"),
    h("span", { class: "lw-tools" }, logarithmic, undoPick),
  );

  const draw = (): void => {
    const step = current();
    if (!steps || !step || !width) return;
    const stage = stageIndex(step, model.get("stage"));
    text.mark(step.index);
    stages.show(step, stage);
    bars.show(step, stage, scale(), cursor);
    strip.show(step, width);
    paintEntropy(entropy, steps.wire, step, width, theme);
    logarithmic.setAttribute("aria-pressed", String(scale() === "log"));
    undoPick.disabled = facts().forced === 0;
    undoPick.hidden = !model.get("_kernel");
    around.setTitle("Next token", `step ${step.index + 1} of ${step.count}${step.hypothetical ? ", other settings" : ""}`);
    const row = hovered ?? cursor;
    const candidate = row === null ? undefined : rowsOf(step)[row];
    const canPick = Boolean(model.get("_kernel"));
    around.setSentence(candidate ? candidateSentence(step, candidate, stage, canPick) : stepSentence(step));
  };
  const paint = oncePerFrame(draw, signal);
  const read = (): void => {
    const wire = model.get("_steps") as StepsWire;
    if (!wire.texts) return;
    steps = new Steps(wire, facts());
    text.fill(facts(), wire);
    paint();
  };

  const key = (event: KeyboardEvent): void => {
    const step = current();
    if (!step) return;
    const last = rowsOf(step).length - 1;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => go(index() - 1),
      ArrowRight: () => go(index() + 1),
      Home: () => go(0),
      End: () => go(Infinity),
      ArrowDown: () => (cursor = cursor === null ? 0 : Math.min(last, cursor + 1)),
      ArrowUp: () => (cursor = cursor === null ? last : Math.max(0, cursor - 1)),
      Enter: () => pick(cursor),
      Escape: undo,
      "[": () => stepStage(-1),
      "]": () => stepStage(1),
      l: toggleScale,
    };
    const action = actions[event.key];
    const onButton = event.key === "Enter" && event.target !== plot; // a stage's own
    if (!action || onButton || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
    action();
    paint();
  };
  const hover = (row: number | null): void => {
    hovered = row;
    paint();
  };
  const scrub = (event: PointerEvent): void => {
    if (steps && event.buttons) go(stepAt(event.offsetX, entropy.clientWidth, steps.count));
  };
  plot.addEventListener("keydown", key, { signal });
  bars.element.addEventListener("click", (event) => pick(bars.rowAt(event)), { signal });
  bars.element.addEventListener("pointerover", (event) => hover(bars.rowAt(event)), { signal });
  bars.element.addEventListener("pointerleave", () => hover(null), { signal });
  entropy.addEventListener("pointerdown", (event) => entropy.setPointerCapture(event.pointerId), { signal });
  for (const move of ["pointerdown", "pointermove"] as const) entropy.addEventListener(move, scrub, { signal });
  logarithmic.addEventListener("click", toggleScale, { signal });
  undoPick.addEventListener("click", undo, { signal });

  const listeners = { _steps: read, _what_if: paint, step: paint, stage: paint, scale: paint };
  for (const [trait, listener] of Object.entries(listeners)) {
    model.on(`change:${trait}`, listener);
    signal.addEventListener("abort", () => model.off(`change:${trait}`, listener));
  }
  const settle = (): void => {
    theme = readTheme(around.root);
    paint();
  };
  watchTheme(settle, signal);
  watchWidth(around.figure, (now) => {
    width = now;
    around.root.classList.toggle("lw-nt-narrow", width < 420);
    settle();
  }, signal);
  settle();
  read();
  return () => own.abort();
}

export default { render };
