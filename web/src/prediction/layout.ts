// What the picture of a prediction says and where its marks stand. Knows neither Jupyter nor the DOM.

export interface Facts {
  question: string;
  choices: string[];
  unit: string;
  answer: number | string | null;
  locked: boolean;
  measured: number | string | null;
  explanation: string;
  /** What the badge says, in small letters: "measured", "counted". */
  source: string;
}

export interface Bars {
  values: number[];
  labels: string[];
  unit: string;
}

/** Whether the measurement may be shown. */
export function revealed(facts: Facts): boolean {
  return facts.locked && facts.measured !== null;
}

/** A number or choice as text. */
export function written(answer: number | string, unit: string): string {
  if (typeof answer === "string") return answer;
  const digits = Number.isInteger(answer) ? String(answer) : String(Number(answer.toPrecision(6)));
  return unit ? `${digits} ${unit}` : digits;
}

/** The one sentence under the figure. */
export function sentence(facts: Facts): string {
  if (!facts.locked) return "Answer, say why if you like, and lock it; the measurement comes after that.";
  const { answer, measured, unit } = facts;
  const said = answer === null ? "You said that you don't know" : `You predicted ${written(answer, unit)}`;
  if (measured === null) return `${said}. Run the cells below to see what is measured.`;
  const hit = answer !== null && answer === measured;
  return `${said}; ${facts.source}: ${written(measured, unit)}${hit ? ", as you predicted" : ""}. ${facts.explanation}`.trim();
}

/** A domain from 0 (or below) to just past the largest number, for a number line. */
export function domain(numbers: number[]): [number, number] {
  const low = Math.min(0, ...numbers);
  const high = Math.max(0, ...numbers);
  const room = (high - low || 1) * 0.08;
  return [low < 0 ? low - room : 0, high + room];
}

/** The place of a number on a line of `length` pixels. */
export function along(value: number, [low, high]: [number, number], length: number): number {
  return ((value - low) / (high - low)) * length;
}

/** Heights of bars in pixels; what is above zero stays visible, what is zero has none. */
export function barHeights(values: number[], height: number): number[] {
  const most = Math.max(...values, 0);
  return values.map((value) => (value > 0 && most > 0 ? Math.max(2, (value / most) * height) : 0));
}

/** Labels at most every so many bars, so that they do not overlap. */
export function labelStep(count: number, width: number, labelWidth = 44): number {
  return Math.max(1, Math.ceil((count * labelWidth) / Math.max(1, width)));
}
