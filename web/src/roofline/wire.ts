// What travels from Python: roofs with the steps under each. The first roof is the record's own.

export interface Step {
  label: string;
  name: string;
  phase: string; // "prefill", "decode", or "" if that is not known
  intensity: number; // FLOP/byte
  flops_per_second: number | null; // what was reached; null if nothing ran
  flops: number | null;
  nbytes: number | null;
  seconds: number | null;
  wall_seconds: number | null;
}

export interface Roof {
  name: string;
  dtype: string;
  threads: number | null;
  flops_per_second: number;
  bytes_per_second: number;
  source: string; // the document of the limits; "" if they were measured or given
  steps: Step[];
}

export interface RooflineWire {
  title: string;
  detail: string; // what the steps have in common; "" if that is not known
  badge: string; // of the first roof
  roofs: Roof[];
}

/** The FLOP/byte at which both limits of a roof meet. */
export function ridge(roof: Roof): number {
  return roof.flops_per_second / roof.bytes_per_second;
}

/** The most FLOP/s under a roof (Williams et al. 2009). */
export function bound(roof: Roof, intensity: number): number {
  return Math.min(roof.flops_per_second, roof.bytes_per_second * intensity);
}
