// Marks of a figure as data: the same list is shown in the page and written to the downloaded SVG.

import type { SvgSheet } from "../lib/download";

export interface Mark {
  tag: "path" | "line" | "circle" | "rect" | "text" | "polyline";
  at: Record<string, string | number>;
  text?: string;
}

const SVG = "http://www.w3.org/2000/svg";
const shown = new WeakMap<Element, Mark>();

/** Make `group` show `marks`, touching only what changed. */
export function show(group: SVGGElement, marks: Mark[]): void {
  marks.forEach((mark, i) => {
    const old = group.children[i];
    const last = old && shown.get(old);
    if (old && last && last.tag === mark.tag && sameNames(last.at, mark.at)) update(old, last, mark);
    else {
      const made = document.createElementNS(SVG, mark.tag);
      update(made, null, mark);
      if (old) old.replaceWith(made);
      else group.append(made);
    }
  });
  while (group.children.length > marks.length) group.lastElementChild?.remove();
}

/** Write `marks` to a sheet, moved down by `down`. */
export function write(sheet: SvgSheet, marks: Mark[], down: number): void {
  for (const mark of marks) {
    const at = { ...mark.at, transform: `translate(0 ${down}) ${mark.at["transform"] ?? ""}` };
    if (mark.tag === "text") sheet.text(mark.text ?? "", at);
    else sheet.add(mark.tag, at);
  }
}

function update(element: Element, last: Mark | null, mark: Mark): void {
  for (const [name, value] of Object.entries(mark.at)) {
    if (last?.at[name] !== value) element.setAttribute(name, String(value));
  }
  if (mark.text !== undefined && last?.text !== mark.text) element.textContent = mark.text;
  shown.set(element, mark);
}

function sameNames(one: Mark["at"], other: Mark["at"]): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => name in other);
}
