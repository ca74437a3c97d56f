// The line under the knobs of `explore`: what runs, how far it is, what went wrong, and a stop.

import type { AnyModel, RenderProps } from "@anywidget/types";
import { h } from "./lib/dom";
import css from "./lib/frame.css";
import own from "./run_status/run_status.css";

function render({ model, el }: RenderProps): () => void {
  const text = h("span", { role: "status", "aria-live": "polite" });
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const stop = h("button", { type: "button" }, "Stop");
  const line = h("div", { class: "lw lw-status" }, h("style", {}, css, own), text, bar, stop);
  el.replaceChildren(line);
  stop.onclick = () => {
    model.set("stop_requested", true);
    model.save_changes();
  };
  const show = (): void => {
    const state = String(model.get("state"));
    line.dataset["state"] = state;
    text.textContent = String(model.get("message"));
    text.title = text.textContent;
    const progress = model.get("progress") as number | null;
    bar.hidden = state !== "busy";
    if (progress === null) bar.removeAttribute("value");
    else bar.value = progress;
    stop.hidden = state !== "busy" || !model.get("can_stop");
  };
  const events = ["state", "message", "progress", "can_stop"];
  for (const event of events) (model as AnyModel).on(`change:${event}`, show);
  show();
  return () => {
    for (const event of events) (model as AnyModel).off(`change:${event}`, show);
  };
}

export default { render };
