// The colours of the figure; each also differs by shape or dash, so that no colour is needed to tell marks apart.

import { requestColour } from "../lib/request_colours";
import type { Theme } from "../lib/theme";

export interface Palette {
  theme: Theme;
  query: string;
  key: string;
  beyond: string;
}

export function palette(theme: Theme): Palette {
  const colour = (place: number): string => requestColour(place, theme.dark);
  return { theme, query: colour(0), key: colour(2), beyond: colour(1) };
}

export interface LineStyle {
  colour: string;
  dash: string;
}

const DASHES = ["none", "7 3", "2 3", "9 3 2 3"];
const PLACES = [3, 4, 6, 7];

/** The line of the scaling at `place`: the model as it is in the text's colour, each other one in its own. */
export function lineStyle(place: number, theme: Theme): LineStyle {
  const colour = place === 0 ? theme.foreground : requestColour(PLACES[(place - 1) % PLACES.length] ?? 3, theme.dark);
  return { colour, dash: DASHES[place % DASHES.length] ?? "none" };
}
