// Wiring of Roofline: reads traits, lays out and draws, writes device and pinned step back.

import type { AnyModel, RenderProps } from "@anywidget/types";
import { h } from "./lib/dom";
import type { Drawing } from "./lib/download";
import { frame } from "./lib/frame";
import { swatch } from "./lib/ramp_legend";
import { oncePerFrame, watchWidth } from "./lib/schedule";
import { readTheme, type Theme, watchTheme } from "./lib/theme";
import { running } from "./lib/tokens";
import { drawScene, phaseColour } from "./roofline/drawing";
import css from "./roofline/roofline.css";
import { layOut, nearest, type Scene } from "./roofline/scene";
import { sentence } from "./roofline/sentence";
import type { Roof, RooflineWire } from "./roofline/wire";

const HELP: [string, string][] = [
  ["Operational intensity", "FLOPs of a step for each byte of weights, keys and values that it reads or writes."],
  ["Roof", "The most that the machine can do: the slope is its memory, the flat part its arithmetic. Both axes are logarithmic."],
  ["Ridge", "Where both meet. Left of it a step waits for memory, right of it for arithmetic."],
  ["Filled mark", "What a step reached. The thin line leads up to its bound on the roof."],
  ["Measured time", "The mean of several steps. On a CPU it is the processor's time divided by the threads, which other programs disturb least."],
  ["What if", "The same work on another device, by its datasheet. Hollow marks are bounds: nothing ran there."],
  ["Keys", "Arrows move over the steps, Enter pins one, Escape clears."],
];

function render({ model: given, el, signal: outer }: RenderProps): () => void {
  const model = given as AnyModel;
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  let cursor: number | null = null;
  let width = 0;
  let theme: Theme;
  let scene: Scene | null = null;

  const around = frame(model, el, { title: "Roofline", help: HELP, drawing: () => draw(true) }, signal);
  around.root.classList.add("lw-roofline");
  const select = h("select", { "aria-label": "Device" });
  const chooser = h("label", { class: "lw-roofline-device" }, "Device", select);
  const plot = h("div", { class: "lw-roofline-plot", tabindex: 0, role: "application", "aria-label": "Steps under the roof; arrow keys move" });
  around.root.append(h("style", {}, css));
  around.figure.append(chooser, plot);
  const context = h("canvas").getContext("2d");

  const wire = (): RooflineWire => model.get("_roofline") as RooflineWire;
  const device = (): string => String(model.get("device"));
  const shown = (): Roof => wire().roofs.find((roof, i) => i > 0 && roof.name === device()) ?? (wire().roofs[0] as Roof);
  const pinned = (): number | null => model.get("selected_point") as number | null;
  const measure = (text: string): number => {
    if (!context) return 7 * text.length;
    context.font = `11px ${theme.font}`;
    return Math.ceil(context.measureText(text).width) + 2;
  };
  const detail = (...parts: string[]): string => parts.filter(Boolean).map(running).join(" · ");
  const draw = (titled: boolean): Drawing => {
    scene = layOut(wire(), device(), width || 640, measure);
    return drawScene(scene, theme, [cursor, pinned()], titled ? `Roofline: ${detail(wire().title, shown().name, shown().dtype, wire().detail)}` : "");
  };
  const paint = oncePerFrame(() => {
    if (!width || !wire().roofs) return;
    // Every text and attribute of the sheet is escaped, so this parses to what was drawn and nothing else.
    const parsed = new DOMParser().parseFromString(draw(false).svg, "image/svg+xml").documentElement;
    plot.replaceChildren(document.importNode(parsed, true));
    const step = shown().steps[cursor ?? pinned() ?? -1] ?? null;
    around.setTitle("Roofline", detail(wire().title, shown().dtype, wire().detail));
    around.setSentence(sentence(shown(), step, shown() !== wire().roofs[0], wire().badge));
  }, signal);
  const fill = (): void => {
    if (!wire().roofs) return;
    const [first, ...rest] = wire().roofs;
    const others = rest.map((roof) => h("option", { value: roof.name }, `what if: ${running(roof.name)}, ${roof.dtype}`));
    const as = wire().badge.toLowerCase();
    select.replaceChildren(h("option", { value: "" }, `${running(first?.name ?? "")}, ${first?.dtype} (${as})`), ...others);
    select.value = device();
    chooser.hidden = others.length === 0;
    cursor = null;
    settle();
  };
  const follow = (): void => {
    select.value = device();
    const badge = device() ? "MODELLED" : wire().badge;
    if (model.get("badge") !== badge) model.set("badge", badge); // an exported page has no kernel to do it
    cursor = null;
    paint();
  };
  const pin = (step: number | null): void => {
    model.set("selected_point", step);
    model.save_changes();
    paint();
  };
  const move = (to: number): void => {
    cursor = Math.max(0, Math.min(shown().steps.length - 1, to));
  };

  select.onchange = () => {
    model.set("device", select.value);
    model.save_changes();
  };
  plot.addEventListener("keydown", (event) => {
    const at = cursor ?? pinned();
    const [next, before] = [(): void => move(at === null ? 0 : at + 1), (): void => move(at === null ? Infinity : at - 1)];
    const actions: Record<string, () => void> = {
      ArrowRight: next,
      ArrowDown: next,
      ArrowLeft: before,
      ArrowUp: before,
      Home: () => move(0),
      End: () => move(Infinity),
      Enter: () => pin(cursor),
      Escape: () => ((cursor = null), pin(null)),
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own on these keys
    action();
    paint();
  }, { signal });
  const under = (event: PointerEvent): number | null => {
    const box = plot.getBoundingClientRect();
    return scene && nearest(scene, event.clientX - box.left, event.clientY - box.top);
  };
  plot.addEventListener("pointermove", (event) => {
    const step = under(event);
    if (step !== cursor) ((cursor = step), paint());
  }, { signal });
  plot.addEventListener("pointerleave", () => ((cursor = null), paint()), { signal });
  plot.addEventListener("click", (event) => {
    const step = under(event as PointerEvent);
    pin(step === pinned() ? null : step);
  }, { signal });

  for (const [name, listener] of [["_roofline", fill], ["device", follow], ["selected_point", paint]] as const) {
    model.on(`change:${name}`, listener);
    signal.addEventListener("abort", () => model.off(`change:${name}`, listener));
  }
  const settle = (): void => {
    theme = readTheme(around.root);
    const mark = (phase: string, radius: string): string => `background: ${phaseColour(phase, theme)}; border-radius: ${radius}`;
    const phases = new Set((wire().roofs?.[0]?.steps ?? []).map((step) => step.phase));
    around.legend.replaceChildren(
      ...(phases.has("decode") ? [swatch(mark("decode", "50%"), "decode of B sequences")] : []),
      ...(phases.has("prefill") ? [swatch(mark("prefill", "1px"), "prefill of T tokens")] : []),
      ...(phases.has("") ? [swatch(mark("", "50%"), "what a step reached, FLOP/s")] : []),
      swatch("border: 1.6px solid var(--lw-muted); border-radius: 50%", "hollow: the step's bound"),
      swatch("height: 2px; background: var(--lw-fg)", "roof: FLOP/s at best"),
    );
    paint();
  };
  watchTheme(settle, signal);
  watchWidth(plot, (now) => ((width = now), settle()), signal);
  fill();
  return () => own.abort();
}

export default { render };
