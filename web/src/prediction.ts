// Wiring of Prediction: a form until the answer is locked, then the answer against what was measured.

import type { AnyModel, RenderProps } from "@anywidget/types";
import { h } from "./lib/dom";
import type { Drawing } from "./lib/download";
import { frame } from "./lib/frame";
import { oncePerFrame, watchWidth } from "./lib/schedule";
import { readTheme, watchTheme } from "./lib/theme";
import { swatch } from "./lib/ramp_legend";
import { predictionDrawing } from "./prediction/drawing";
import { form } from "./prediction/form";
import { type Bars, type Facts, revealed, sentence } from "./prediction/layout";
import css from "./prediction/prediction.css";

const HELP: [string, string][] = [
  ["Lock", "Makes your answer final; only then is the measurement shown."],
  ["I don't know", "Shows the measurement without an answer of yours."],
  ["Your prediction", "What you locked, with your reason."],
  ["In colour", "What was measured or counted, as the badge says."],
  ["Bars", "The measurement in detail; no bar and a 0 mean exactly zero."],
  ["Keys", "Tab moves, arrows choose, Enter locks."],
];

function render({ model: given, el, signal: outer }: RenderProps): () => void {
  const model = given as AnyModel;
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  let width = 640;
  const draw = (titled: boolean): Drawing =>
    predictionDrawing(factsOf(model), barsOf(model), readTheme(around.root), width, titled);
  const around = frame(model, el, { title: "Prediction", help: HELP, drawing: () => draw(true) }, signal);
  around.root.classList.add("lw-predict");
  const picture = h("div");
  const reason = h("p", { class: "lw-reason" });
  const asked = factsOf(model);
  const ask = form(asked, (answer, why) => {
    model.set("answer", answer);
    model.set("reason", why);
    model.set("locked", true);
    model.save_changes();
  });
  around.root.append(h("style", {}, css));
  around.figure.append(ask, picture, reason);

  const show = oncePerFrame(() => {
    const facts = factsOf(model);
    const why = String(model.get("reason"));
    around.root.toggleAttribute("data-revealed", revealed(facts));
    around.setTitle(facts.question);
    around.setSentence(sentence(facts));
    ask.hidden = facts.locked;
    picture.hidden = !facts.locked;
    reason.hidden = !facts.locked || !why;
    reason.textContent = `Your reason: ${why}`;
    if (!facts.locked) return around.legend.replaceChildren();
    const theme = readTheme(around.root);
    // Every text and attribute of the sheet is escaped, so this parses to what was drawn and nothing else.
    const parsed = new DOMParser().parseFromString(draw(false).svg, "image/svg+xml").documentElement;
    picture.replaceChildren(document.importNode(parsed, true));
    const yours = swatch(`background: ${theme.foreground}`, "your prediction");
    const found = swatch(`background: ${theme.accent}`, facts.source);
    around.legend.replaceChildren(...(revealed(facts) ? [yours, found] : [yours]));
  }, signal);
  for (const name of ["question", "answer", "reason", "locked", "measured", "explanation", "badge", "_bars"]) {
    model.on(`change:${name}`, show);
    signal.addEventListener("abort", () => model.off(`change:${name}`, show));
  }
  watchTheme(show, signal);
  watchWidth(around.figure, (now) => ((width = now), show()), signal);
  show();
  return () => own.abort();
}

function factsOf(model: AnyModel): Facts {
  return {
    question: String(model.get("question")),
    choices: model.get("choices") as string[],
    unit: String(model.get("unit")),
    answer: model.get("answer") as number | string | null,
    locked: Boolean(model.get("locked")),
    measured: model.get("measured") as number | string | null,
    explanation: String(model.get("explanation")),
    source: String(model.get("badge")).toLowerCase(),
  };
}

function barsOf(model: AnyModel): Bars | null {
  const bars = model.get("_bars") as Partial<Bars>;
  return bars.values ? (bars as Bars) : null;
}

export default { render };
