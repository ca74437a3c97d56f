// The one sentence under a roofline. Knows neither Jupyter nor the DOM.

import { running } from "../lib/tokens";
import { plain, quantity } from "./scale";
import { bound, ridge, type Roof, type Step } from "./wire";

const BUSY = 1.5; // the clock showed so many times the processor's time: other programs took turns

/** Of a roof as a whole, or of the step under the cursor. */
export function sentence(roof: Roof, step: Step | null, other: boolean, badge: string): string {
  return step ? ofStep(roof, step, other) : ofRoof(roof, other, badge);
}

function ofRoof(roof: Roof, other: boolean, badge: string): string {
  const limits = `${quantity(roof.flops_per_second, "FLOP/s")} and ${quantity(roof.bytes_per_second, "B/s")}`;
  if (other) {
    return `${running(roof.name)} in ${roof.dtype}: ${limits} by ${running(roof.source)}; ridge at ${plain(ridge(roof))} FLOP/byte. Nothing ran there.`;
  }
  const rough = 2 * roof.steps.filter(busy).length > roof.steps.length ? " Other programs ran beside it, so its times are rough." : "";
  const below = roof.steps.filter((step) => step.intensity < ridge(roof)).length;
  const threads = roof.threads === null ? "" : roof.threads === 1 ? ", 1 thread" : `, ${roof.threads} threads`;
  return `${running(roof.name)}${threads}: ${limits} at best, ${badge.toLowerCase()}. Below ${plain(ridge(roof))} FLOP/byte, the ridge, memory is the limit: so for ${below} of ${roof.steps.length} steps.${rough}`;
}

function ofStep(roof: Roof, step: Step, other: boolean): string {
  const limit = step.intensity < ridge(roof) ? "memory" : "arithmetic";
  const where = other ? `, on ${running(roof.name)} in ${roof.dtype}` : "";
  const work =
    step.flops === null || step.nbytes === null
      ? `${plain(step.intensity)} FLOP/byte`
      : `${quantity(step.flops, "FLOP")} over ${quantity(step.nbytes, "B")} is ${plain(step.intensity)} FLOP/byte`;
  return `${running(step.name)}${where}: ${work}, so ${limit} is the limit. ${against(roof, step)}`;
}

function busy(step: Step): boolean {
  return step.seconds !== null && step.wall_seconds !== null && step.wall_seconds > BUSY * step.seconds;
}

function against(roof: Roof, step: Step): string {
  const most = bound(roof, step.intensity);
  const least = step.flops === null ? `At best ${quantity(most, "FLOP/s")}` : `At best ${quantity(step.flops / most, "s")}`;
  if (step.flops_per_second === null) return `${least}; modelled, nothing ran.`;
  const took = step.seconds === null ? quantity(step.flops_per_second, "FLOP/s") : quantity(step.seconds, "s");
  const share = step.flops_per_second / most;
  const clock = busy(step) ? ` (${quantity(step.wall_seconds ?? 0, "s")} on the clock of a busy machine)` : "";
  const above = share > 1.05 ? ", so part of it never came from memory but from a cache" : "";
  return `${least}, measured ${took}${clock}: reaches ${Math.round(100 * share)}% of the bound${above}.`;
}
