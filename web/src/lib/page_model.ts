// The model of a widget in an exported page: the same calls as Jupyter's, with nobody at the other end.

export interface Spec {
  module: string;
  state: PackedState;
}

export type PackedState = Record<string, unknown>;
type Listener = (event?: unknown) => void;

export class PageModel {
  private readonly state: Record<string, unknown>;
  private readonly listeners = new Map<string, Set<Listener>>();

  constructor(packed: PackedState) {
    this.state = unpack(packed) as Record<string, unknown>;
  }

  get(key: string): unknown {
    // What only a kernel can bring is not waited for in a page without one.
    return key === "_kernel" ? false : this.state[key];
  }

  set(key: string | Record<string, unknown>, value?: unknown): void {
    const changes = typeof key === "string" ? { [key]: value } : key;
    for (const [name, next] of Object.entries(changes)) {
      if (this.state[name] === next) continue;
      this.state[name] = next;
      this.emit(`change:${name}`);
    }
    this.emit("change");
  }

  on(event: string, listener: Listener): void {
    for (const name of event.split(" ")) {
      if (!this.listeners.has(name)) this.listeners.set(name, new Set());
      this.listeners.get(name)?.add(listener);
    }
  }

  off(event?: string | null, listener?: Listener | null): void {
    if (!event) this.listeners.clear();
    else if (!listener) this.listeners.delete(event);
    else this.listeners.get(event)?.delete(listener);
  }

  save_changes(): void {}

  send(): void {}

  private emit(event: string): void {
    for (const listener of [...(this.listeners.get(event) ?? [])]) listener();
  }
}

/** Turn `{"$bytes": base64}` back into the DataView that Jupyter would give. */
function unpack(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unpack);
  if (typeof value !== "object" || value === null) return value;
  if ("$bytes" in value) {
    const binary = atob(String(value.$bytes));
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i); // Uint8Array.from would call back each time
    return new DataView(bytes.buffer);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
}
