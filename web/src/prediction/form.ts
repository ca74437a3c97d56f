// The form of a question: choices or a number, a reason, Lock and "I don't know". All by keyboard, as forms are.

import { h } from "../lib/dom";

export interface Asked {
  choices: string[];
  unit: string;
  question: string;
}

/** A form that calls `lock` once with the answer; null for "I don't know". */
export function form(asked: Asked, lock: (answer: number | string | null, reason: string) => void): HTMLFormElement {
  const reason = h("input", { type: "text", maxlength: 500, placeholder: "because … (optional)", "aria-label": "Your reason" });
  const submit = h("button", { type: "submit", disabled: true }, "Lock");
  const unknown = h("button", { type: "button" }, "I don't know");
  let answer: number | string | null = null;
  const answered = (value: number | string | null): void => {
    answer = value;
    submit.disabled = value === null;
  };
  const inputs = asked.choices.length ? choices(asked, answered) : number(asked, answered);
  const made = h("form", {}, inputs, reason, h("div", { class: "lw-buttons" }, submit, unknown));
  made.onsubmit = (event) => {
    event.preventDefault();
    if (answer !== null) lock(answer, reason.value.trim());
  };
  unknown.onclick = () => lock(null, reason.value.trim());
  // A notebook must not read what is typed here as its own shortcuts.
  made.addEventListener("keydown", (event) => event.stopPropagation());
  return made;
}

function choices(asked: Asked, answered: (value: string) => void): HTMLElement {
  const group = `lw-${crypto.randomUUID?.() ?? Math.random()}`;
  const labels = asked.choices.map((choice) => {
    const radio = h("input", { type: "radio", name: group });
    radio.onchange = () => answered(choice);
    return h("label", {}, radio, h("span", {}, choice));
  });
  return h("fieldset", { "aria-label": asked.question }, ...labels);
}

function number(asked: Asked, answered: (value: number | null) => void): HTMLElement {
  const input = h("input", { type: "number", step: "any", "aria-label": asked.question, placeholder: "a number" });
  input.oninput = () => answered(input.value.trim() !== "" && Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null);
  return h("div", { class: "lw-number" }, input, h("span", {}, asked.unit));
}
