// One colour a request, the same in every widget: by its place among the requests of the workload.

// Okabe and Ito's colours, which people with any kind of colour vision tell apart; the lighter twin is for dark pages.
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b0568d", "#9a7500", "#3b8fbf", "#8a4b2a", "#5f5bb3"];
const DARK = ["#4aa8e0", "#f28e4b", "#35c79d", "#e39ac6", "#e0c14a", "#8fd0f5", "#cf9a7a", "#a9a5ee"];

/** The colour of the request at `place`, counted from 0; eight colours take turns. */
export function requestColour(place: number, dark: boolean): string {
  const colours = dark ? DARK : LIGHT;
  return colours[place % colours.length] ?? "#888888";
}
