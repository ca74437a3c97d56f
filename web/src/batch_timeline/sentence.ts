// What the figure says in words about the step, or the cell, under the cursor.

import { format } from "d3-format";
import { named } from "./labels";
import type { Difference, Run } from "./timeline";
import { STATE } from "./timeline";

const short = format(".3~g");

/** What the runs do in a step. */
export function stepSentence(runs: Run[], names: string[], difference: Difference | null, step: number): string {
  const first = difference ? ` First difference: ${named(difference.text, 120)}` : "";
  return `Step ${step}${told(runs, names, (run) => stepText(run, step))}${first}`;
}

function stepText(run: Run, step: number): string {
  if (step >= run.steps) return run.steps ? `the run ended after ${counted(run.steps, "step")}.` : "nothing has run yet.";
  const { prefill, decode, padding, running, idle, waiting } = run.totals(step);
  const { max_num_batched_tokens: budget, max_num_seqs: slots } = run.wire;
  const kinds = Object.entries({ prefill, decode, padding }).filter(([, count]) => count);
  const tokens = prefill + decode + padding;
  const of = (limit: number | null): string => (limit === null ? "" : ` of ${limit}`);
  const how = kinds.length ? ` (${kinds.map(([kind, count]) => `${count} ${kind}`).join(", ")})` : "";
  const held = idle ? `, ${counted(idle, "slot")} ${idle === 1 ? "idles" : "idle"}` : "";
  return `${tokens}${of(budget)} tokens${how}; ${running}${of(slots)} sequences compute${held}, ${waiting} wait.`;
}

/** What a request does in a step, in each run, and how long it waited for its tokens. */
export function cellSentence(runs: Run[], names: string[], row: number, step: number): string {
  const id = named(runs[0]?.rows[row]?.id ?? "", 24);
  return `${id}, step ${step}${told(runs, names, (run) => `${cellText(run, row, step)}${times(run, row)}.`)}`;
}

/** One text a run; where there are two, each begins with its run's name. */
function told(runs: Run[], names: string[], text: (run: Run) => string): string {
  if (runs.length < 2) return `: ${runs.map(text).join("")}`;
  return runs.map((run, i) => `. ${named(names[i] ?? "", 24)}: ${text(run).replace(/\.$/, "")}`).join("") + ".";
}

function cellText(run: Run, row: number, step: number): string {
  const facts = run.rows[row];
  if (!facts) return "";
  const tokens = run.tokensAt(row, step);
  const texts: Record<number, () => string> = {
    [STATE.notArrived]: () => (step < run.steps ? "has not arrived" : `the run ended after ${counted(run.steps, "step")}`),
    [STATE.queued]: () => `queued for ${counted(step - run.arrival(row) + 1, "step")} so far`,
    [STATE.prefill]: () => `prefill of ${counted(tokens, "token")}${progress(run, row, step)}`,
    [STATE.decode]: () => `decode, new token ${run.tokensSoFar(row, step)}${latency(run, row, step)}${progress(run, row, step)}`,
    [STATE.speculated]: () =>
      `speculated: ${counted(tokens, "token")} checked at once, ${run.newTokensAt(row, step)} new${progress(run, row, step)}`,
    [STATE.preempted]: () => preempted(run, row, step),
    [STATE.finished]: () => ended(run, row),
    [STATE.idle]: () =>
      facts.ended !== null && step > facts.ended
        ? `${ended(run, row)}; its slot idles until the batch has ended`
        : "runs, but no token of it is computed in this step",
    [STATE.padding]: () => `its slot computes ${counted(run.paddingAt(row, step), "padding token")} that nobody reads`,
  };
  return `${texts[run.state(row, step)]?.() ?? ""}${padded(run, row, step)}`;
}

function progress(run: Run, row: number, step: number): string {
  const facts = run.rows[row];
  if (!facts || facts.prompt_tokens === null) return "";
  const known = facts.prompt_tokens + run.tokensSoFar(row, step - 1);
  const admission = run.admission(row, step);
  const hit = admission?.step === step && admission.cached_tokens ? `, ${admission.cached_tokens} of them found in the prefix cache` : "";
  return `, ${run.computedAfter(row, step)} of ${known} are computed${hit}`;
}

function latency(run: Run, row: number, step: number): string {
  const gap = run.gaps(row).find((found) => found.step === step);
  return gap ? `, ${time(gap.time, run)} after the one before` : "";
}

function preempted(run: Run, row: number, step: number): string {
  let since = step;
  while (run.state(row, since - 1) === STATE.preempted) since--;
  return since === step
    ? "preempted here: it loses its blocks and waits to be computed again"
    : `waits to be computed again, preempted at step ${since}`;
}

function ended(run: Run, row: number): string {
  const { finish_reason: reason, ended: at } = run.rows[row] ?? {};
  if (at === null || at === undefined) return "finished";
  return reason === "abort" ? `aborted after step ${at}` : `finished in step ${at}${reason ? ` (${reason})` : ""}`;
}

function padded(run: Run, row: number, step: number): string {
  const facts = run.rows[row];
  const own = run.state(row, step) === STATE.padding ? 0 : run.paddingAt(row, step);
  if (own) return `, and ${counted(own, "padding token")}`;
  const short = facts?.admissions[0]?.step === step ? facts.shortfall : 0;
  return short ? `; a batch padded to a rectangle would add ${counted(short, "padding token")}` : "";
}

function times(run: Run, row: number): string {
  const { ttft, itl_mean: mean, itl_max: most } = run.rows[row] ?? {};
  if (ttft === null || ttft === undefined) return "";
  const gaps = mean === null || most === null || mean === undefined || most === undefined ? "" : `, ITL ${time(mean, run)} on average, ${time(most, run)} at most`;
  return `. TTFT ${time(ttft, run)}${gaps}`;
}

function time(value: number, run: Run): string {
  if (run.wire.unit === "seconds") return value < 1 ? `${short(1000 * value)} ms` : `${short(value)} s`;
  return `${short(value)} ${value === 1 ? "step" : "steps"}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
