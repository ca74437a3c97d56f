// A command to read and to copy: what the knobs above it are called in production.

import type { AnyModel, RenderProps } from "@anywidget/types";
import own from "./command_line/command_line.css";
import { h } from "./lib/dom";
import css from "./lib/frame.css";

function render({ model, el }: RenderProps): () => void {
  const code = h("code", { tabindex: 0, "aria-label": "The same settings as a command" });
  const copy = h("button", { type: "button" }, "Copy");
  const note = h("small", { role: "status", "aria-live": "polite" });
  const line = h("div", { class: "lw lw-command" }, h("style", {}, css, own), h("div", {}, code, copy), note);
  el.replaceChildren(line);
  const show = (): void => {
    code.textContent = String(model.get("command"));
    note.textContent = String(model.get("note"));
    note.hidden = note.textContent === "";
  };
  copy.onclick = () => {
    // Where the page may not write to the clipboard, the text is selected for the keyboard's own copy.
    const wrote = navigator.clipboard?.writeText(code.textContent ?? "") ?? Promise.reject(new Error("no clipboard"));
    wrote.then(
      () => (copy.textContent = "Copied"),
      () => {
        getSelection()?.selectAllChildren(code);
        copy.textContent = "Selected";
      },
    );
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  };
  const events = ["command", "note"];
  for (const event of events) (model as AnyModel).on(`change:${event}`, show);
  show();
  return () => {
    for (const event of events) (model as AnyModel).off(`change:${event}`, show);
  };
}

export default { render };
