// The one sentence under the figure. Pure: knows neither Jupyter nor the DOM.

import { quoted } from "../lib/tokens";
import { counted, written } from "./axis";
import { type Candidate, cutBy, type Step } from "./steps";

/** What is said of a step while nothing is under the cursor. */
export function stepSentence(step: Step): string {
  const { chosen, kept, entropies } = step;
  const where = `Step ${step.index + 1} of ${step.count}`;
  const token = quoted(chosen.text);
  const [all, last] = [kept[0] ?? 0, kept.at(-1) ?? 0];
  const left = last === all ? `All ${counted(all)} tokens left` : `${counted(last)} of ${counted(all)} tokens left`;
  const bits = `entropy ${(entropies.at(-1) ?? 0).toFixed(2)} bits, the model's ${(entropies[0] ?? 0).toFixed(2)}`;
  const model = `the model's probability is ${written(chosen.after[0] ?? 0)}`;
  const choice = step.hypothetical ? `with these settings ${token} would come next, ${how(step)}` : `${token}, ${how(step)}`;
  return `${where}: ${choice}; ${model}. ${left}; ${bits}.`;
}

/** What is said of the candidate under the cursor. */
export function candidateSentence(step: Step, candidate: Candidate, stage: number, canPick: boolean): string {
  const model = candidate.after[0] ?? 0;
  if (model === 0) return `${quoted(candidate.text)}: the model rules it out.`;
  const own = `the model gives it ${written(model)} (log-probability ${Math.log(model).toFixed(2)})`;
  const cut = cutBy(step, candidate, stage);
  const after = stage === step.stages.length - 1 ? "drawn from with" : `after ${step.stages[stage] ?? ""}`;
  const fate = cut === null ? `${after} ${written(candidate.after[stage] ?? 0)}` : `${cut} took it out`;
  const pick = canPick ? " Enter goes on from here with it." : "";
  return `${quoted(candidate.text)}: ${own}; ${fate}.${pick}`;
}

function how(step: Step): string {
  if (step.forced) return "picked by hand";
  if (step.uniform !== null) return `drawn by u = ${step.uniform.toFixed(3)}`;
  if (step.stages.includes("greedy")) return step.stages.includes("penalties") ? "the most probable after penalties" : "the most probable";
  return step.chosen.place === 0 ? "the most probable" : "as given";
}
