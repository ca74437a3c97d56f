// Bytes and counts in words, and words in lines.

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];
const thousands = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A whole number with a comma at each thousand. */
export function whole(count: number): string {
  return thousands.format(count);
}

/** Bytes as people say them: 512 bytes, 32.0 KiB, 1.5 GiB. */
export function sizeOf(bytes: number): string {
  let [size, unit] = [bytes, 0];
  while (size >= 1024 && unit < UNITS.length - 1) [size, unit] = [size / 1024, unit + 1];
  return unit ? `${size.toFixed(1)} ${UNITS[unit]}` : `${whole(size)} bytes`;
}

/** A count with its noun: 1 block, 3 blocks. */
export function counted(count: number, noun: string): string {
  return `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** A text in lines of at most `most` characters, broken between words. */
export function lines(text: string, most: number): string[] {
  const found: string[] = [];
  for (const word of text.split(" ")) {
    const longer = `${found.at(-1) ?? ""} ${word}`;
    if (found.length && longer.length <= most) found[found.length - 1] = longer;
    else found.push(word);
  }
  return found;
}
