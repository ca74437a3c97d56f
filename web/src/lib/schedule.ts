// Work that is done at most once a frame.

/** A function that runs `work` in the next animation frame, however often it was called before. */
export function oncePerFrame(work: () => void, signal: AbortSignal): () => void {
  let queued = 0;
  signal.addEventListener("abort", () => cancelAnimationFrame(queued));
  return () => {
    if (queued || signal.aborted) return;
    queued = requestAnimationFrame(() => {
      queued = 0;
      work();
    });
  };
}

/** Call `changed` with the width of `element` in CSS pixels, also when a hidden tab is shown. */
export function watchWidth(element: HTMLElement, changed: (width: number) => void, signal: AbortSignal): void {
  let last = 0;
  const observer = new ResizeObserver(([entry]) => {
    const width = Math.floor(entry?.contentRect.width ?? 0);
    if (width > 0 && width !== last) changed((last = width));
  });
  observer.observe(element);
  signal.addEventListener("abort", () => observer.disconnect());
}
