// From a probability to a length: directly or by its logarithm. Pure: knows neither Jupyter nor the DOM.

export type Scale = "linear" | "log";

export interface Axis {
  /** Share of the axis's length, from 0 to 1. */
  place: (probability: number) => number;
  ticks: { at: number; label: string }[];
}

const DECADES = 5; // a logarithmic axis shows probabilities from 0.00001

/** An axis on which the largest of `probabilities` has its place. */
export function axis(scale: Scale, probabilities: number[]): Axis {
  return scale === "log" ? logarithmic() : linear(Math.max(...probabilities, 1e-9));
}

function linear(most: number): Axis {
  // A round end, so that the axis stands still while the bars move.
  const decade = 10 ** Math.floor(Math.log10(most));
  const end = Math.min(1, (([1, 2, 5, 10].find((step) => step * decade >= most * 0.9999) ?? 10) * decade));
  const ticks = [0, 0.5, 1].map((at) => ({ at, label: String(Number((at * end).toPrecision(2))) }));
  return { place: (probability) => Math.min(1, probability / end), ticks };
}

function logarithmic(): Axis {
  const place = (probability: number): number => {
    return probability > 0 ? Math.min(1, Math.max(0, 1 + Math.log10(probability) / DECADES)) : 0;
  };
  const ticks = [1e-5, 1e-3, 0.1, 1].map((value) => ({ at: place(value), label: String(value) }));
  return { place, ticks };
}

/** A probability in at most five signs. */
export function written(probability: number): string {
  if (probability === 0) return "0";
  return probability >= 0.001 ? probability.toFixed(3) : probability.toExponential(0);
}

/** A count with its thousands set off. */
export function counted(count: number): string {
  return count.toLocaleString("en-US");
}
