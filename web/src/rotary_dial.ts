// Wiring of RotaryDial: reads traits, calls the pure parts in rotary_dial/, writes the selection back.

import type { AnyModel, RenderProps } from "@anywidget/types";
import type { PackedArray } from "./lib/arrays";
import { h } from "./lib/dom";
import { frame } from "./lib/frame";
import { swatch } from "./lib/swatch";
import { oncePerFrame, watchWidth } from "./lib/schedule";
import { readTheme, type Theme, watchTheme } from "./lib/theme";
import { running } from "./lib/tokens";
import { Controls } from "./rotary_dial/controls";
import { Dials, type Facts, type VectorsWire, type View } from "./rotary_dial/dials";
import { bindPicture, type Moves } from "./rotary_dial/gestures";
import { palette } from "./rotary_dial/palette";
import { Picture } from "./rotary_dial/picture";
import css from "./rotary_dial/rotary_dial.css";
import { dialSentence, lossSentence, restSentence } from "./rotary_dial/sentence";

const HELP: [string, string][] = [
  ["Dial", "One pair of numbers of the head. A hand turns by position × frequency: fast pairs first, slow ones last."],
  ["Filled tip", "The query's hand."],
  ["Open tip", "The key's hand."],
  ["Shaded", "The angle between the hands: all that the score sees. It depends on the distance only."],
  ["Ring", "Angles between hands that occurred in training; a gap was never seen."],
  ["Orange", "An angle past the gap's edge: the model never learned what it means."],
  ["Number below", "How many positions one turn takes."],
  ["Faint dials", "Pairs that can add little to this score."],
  ["Score", "query · key × the layer's multiplier, had the same two vectors stood at other distances; thin: the large dial's part."],
  ["Perplexity", "exp(mean loss) of a held-out text, by position; dashes tell the scalings apart. Lower is better."],
  ["Text", "Click a token to take its key; one that comes after the query becomes the query (Shift: always the query)."],
  ["Keys", "Left and right change the distance, up and down move both (Shift: 10), comma and dot the dial, Enter pins it, K and Q tokens, [ ] head, { } layer, Escape goes back to where the tokens stand."],
];

function render({ model: given, el, signal: outer }: RenderProps): () => void {
  const model = given as AnyModel;
  const own = new AbortController();
  const signal = outer ? AbortSignal.any([outer, own.signal]) : own.signal;
  let dials: Dials | null = null;
  let pointed: { pair: number | null; position: number | null } = { pair: null, position: null };
  let theme: Theme;
  let width = 0;
  let playing = 0;

  const picture = new Picture();
  const title = (): string => {
    const { position, distance } = view();
    return `Rotary dial: ${detail()} · query at ${position}, key ${distance} before it`;
  };
  const drawing = () => {
    if (!dials) throw new Error("nothing is painted yet");
    return picture.drawing(dials, view(), title());
  };
  const around = frame(model, el, { title: "Rotary dial", help: HELP, drawing }, signal);
  const text = h("div", { class: "lw-rd-text" });
  const plot = h("div", { class: "lw-rd-plot", tabindex: 0, role: "application", "aria-label": "Dials; arrow keys move" });
  plot.append(picture.svg);
  around.root.append(h("style", {}, css));

  const view = (): View => ({
    query: model.get("query_token") as number,
    key: model.get("key_token") as number,
    position: model.get("position") as number,
    distance: model.get("distance") as number,
    pair: model.get("frequency") as number | null,
    scaling: model.get("scaling") as string,
  });
  const detail = (): string => {
    const { scaling } = view();
    const factor = dials?.facts.ropes.find((rope) => rope.scaling === scaling)?.factor;
    const stretched = factor && scaling !== "none" ? `${scaling} × ${factor}` : scaling === "none" ? "frequencies as trained" : scaling;
    if (dials?.hasVectors) return `layer ${model.get("layer")}, head ${model.get("head")} · ${stretched}`;
    return scaling === "none" ? `${dials?.pairs ?? 0} frequencies` : stretched;
  };
  const set = (changes: Record<string, unknown>): void => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
    paint();
  };
  const place = (position: number, distance: number): void => {
    const most = dials?.facts.max_distance ?? 0;
    const apart = Math.max(0, Math.min(most, distance));
    set({ position: Math.max(apart, Math.min(most, position)), distance: apart }); // the key stands at 0 or later
  };
  const chooseTokens = (query: number, key: number): void => {
    // The tokens go back to where they stand in the prompt.
    const distance = Math.max(0, query - key);
    set({ query_token: query, key_token: key, position: Math.max(query, distance), distance });
  };

  const moves: Moves = {
    dials: () => dials,
    view,
    place,
    moveTo: (position) => place(position, Math.min(view().distance, position)),
    spreadTo: (distance) => place(view().position, distance),
    choosePair: (pair) => set({ frequency: pair }),
    chooseToken: (which, by) => {
      const { query, key } = view();
      const last = (dials?.facts.tokens.length ?? 1) - 1;
      const next = (index: number): number => Math.max(0, Math.min(last, index + by));
      if (which === "query") chooseTokens(next(query), Math.min(key, next(query)));
      else chooseTokens(query, Math.min(next(key), query));
    },
    stepHead: (layers, heads) => {
      if (!dials) return;
      const step = (all: number[], now: number, by: number): number => all[(all.indexOf(now) + by + all.length) % all.length] ?? now;
      const { facts } = dials;
      chooseHead(step(facts.layers, model.get("layer") as number, layers), step(facts.heads, model.get("head") as number, heads));
    },
    reset: () => {
      stop();
      set({ frequency: null });
      if (dials?.hasVectors) chooseTokens(view().query, view().key);
    },
    point: (pair, position) => {
      pointed = { pair, position };
      paint();
    },
  };
  const chooseHead = (layer: number, head: number): void => set({ layer, head });
  const play = (): void => {
    if (playing) return stop();
    let last = performance.now();
    const turn = (now: number): void => {
      const by = Math.max(1, Math.round(((now - last) / 1000) * 120)); // positions a second
      last = now;
      const { position, distance } = view();
      const most = dials?.facts.max_distance ?? 0;
      if (signal.aborted) return;
      playing = requestAnimationFrame(turn);
      set({ position: position + by > most ? distance : position + by });
    };
    playing = requestAnimationFrame(turn);
    paint();
  };
  const stop = (): void => {
    cancelAnimationFrame(playing);
    playing = 0;
    paint();
  };
  const controls = new Controls(
    { moveTo: moves.moveTo, spreadTo: moves.spreadTo, scale: (scaling) => set({ scaling }), head: chooseHead, play },
    signal,
  );
  around.figure.append(text, controls.root, plot);

  const draw = (): void => {
    if (!dials || !width || !theme) return;
    const now = view();
    picture.paint(dials, now, pointed.pair);
    controls.show(now, model.get("layer") as number, model.get("head") as number, playing !== 0);
    for (const token of text.children) {
      const index = Number((token as HTMLElement).dataset["token"]);
      token.className = index === now.query ? "lw-rd-query" : index === now.key ? "lw-rd-key" : "";
    }
    around.setTitle("Rotary dial", detail());
    if (!playing) around.setSentence(words(dials, now)); // else a screen reader would never come to an end
  };
  const words = (shown: Dials, now: View): string => {
    if (pointed.pair !== null) return dialSentence(shown, now, pointed.pair);
    const position = pointed.position === null ? null : lossSentence(shown, pointed.position);
    return position ?? restSentence(shown, now);
  };
  const paint = oncePerFrame(draw, signal);
  const arrange = (): void => {
    theme = readTheme(around.root);
    if (!dials || !width) return;
    const { query, key, beyond } = palette(theme);
    around.root.style.setProperty("--lw-rd-query", query);
    around.root.style.setProperty("--lw-rd-key", key);
    around.legend.replaceChildren(
      swatch(`background: ${query}; border-radius: 50%`, "query's hand"),
      swatch(`border: 2.5px solid ${key}; border-radius: 50%`, "key's hand"),
      swatch(`background: ${query}; opacity: .35`, "angle between them"),
      swatch(`border: 3px solid ${theme.muted}; border-radius: 50%; opacity: .7`, "seen in training"),
      swatch(`background: ${beyond}; opacity: .6`, "never seen in training"),
    );
    picture.arrange(dials, width, theme);
    paint();
  };
  const readVectors = (): void => {
    if (!dials) return;
    const [layer, head] = [model.get("layer"), model.get("head")];
    const all = [model.get("_vectors") as VectorsWire, ...(model.get("_all_vectors") as VectorsWire[])];
    const found = all.find((wire) => wire.queries && wire.layer === layer && wire.head === head);
    if (found) dials.setVectors(found);
    arrange();
  };
  const readFacts = (): void => {
    const facts = model.get("_facts") as Facts;
    if (!facts.ropes) return;
    dials = new Dials(facts, model.get("_frequencies") as PackedArray[]);
    controls.setFacts(facts);
    text.replaceChildren(...facts.tokens.map((token, i) => h("b", { "data-token": i }, running(token))));
    text.style.display = facts.tokens.length ? "" : "none";
    readVectors();
  };

  text.addEventListener("click", (event) => {
    const found = (event.target as HTMLElement).closest<HTMLElement>("[data-token]");
    if (!found) return;
    const index = Number(found.dataset["token"]);
    const { query, key } = view();
    if (event.shiftKey || index > query) chooseTokens(index, Math.min(key, index));
    else chooseTokens(query, index);
  }, { signal });
  bindPicture(plot, picture, moves, signal);
  const listen = (events: string, listener: () => void): void => {
    for (const event of events.split(" ")) {
      model.on(`change:${event}`, listener);
      signal.addEventListener("abort", () => model.off(`change:${event}`, listener));
    }
  };
  listen("_facts _frequencies", readFacts);
  listen("_vectors layer head", readVectors);
  listen("position distance query_token key_token frequency scaling", paint);
  watchTheme(arrange, signal);
  watchWidth(around.figure, (now) => {
    width = now;
    arrange();
  }, signal);
  theme = readTheme(around.root);
  readFacts();
  return () => {
    cancelAnimationFrame(playing);
    own.abort();
  };
}

export default { render };
