// Runs widgets in an exported page: no kernel, no network. The page holds one JSON block of specs.

import type { PackedState, Spec } from "./lib/page_model";
import { PageModel } from "./lib/page_model";

interface Page {
  modules: Record<string, string>;
  widgets: Spec[];
}

async function start(): Promise<void> {
  const block = document.getElementById("llmwidgets-page");
  const page = JSON.parse(block?.textContent ?? "") as Page;
  const urls = Object.fromEntries(
    Object.entries(page.modules).map(([name, source]) => [
      name,
      URL.createObjectURL(new Blob([source], { type: "text/javascript" })),
    ]),
  );
  for (const spec of page.widgets) await mount(spec, urls[spec.module] ?? "");
  document.documentElement.dataset["painted"] = "true";
}

async function mount(spec: Spec, url: string): Promise<void> {
  const module: { default: unknown } = await import(url);
  const made = typeof module.default === "function" ? await module.default() : module.default;
  const widget = made as { render(context: object): unknown };
  const el = document.createElement("div");
  document.getElementById("llmwidgets-widgets")?.append(el);
  const model = new PageModel(spec.state as PackedState);
  const signal = new AbortController().signal;
  const experimental = { invoke: () => Promise.reject(new Error("this page has no kernel")) };
  await widget.render({ model, el, signal, experimental, host: {} });
}

start().catch((error: unknown) => {
  const line = document.createElement("p");
  line.textContent = `This page could not be drawn: ${String(error)}`;
  document.body.append(line);
});
