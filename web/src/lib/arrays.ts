// Arrays as they travel from Python: one buffer with its dtype and shape.

export type Dtype = "float16" | "float32" | "int32" | "uint8";

export interface PackedArray {
  dtype: Dtype;
  shape: number[];
  data: DataView;
}

/** The buffer as unsigned bytes; a view, not a copy. */
export function bytes(array: PackedArray): Uint8Array {
  return new Uint8Array(array.data.buffer, array.data.byteOffset, array.data.byteLength);
}

/** The raw bits of a float16 array. Copied, for a DataView need not be aligned to two bytes. */
export function halfBits(array: PackedArray): Uint16Array {
  return new Uint16Array(bytes(array).slice().buffer);
}

/** The values of a float32 or int32 array. Copied, for a DataView need not be aligned to four bytes. */
export function numbers(array: PackedArray): Float32Array | Int32Array {
  const buffer = bytes(array).slice().buffer;
  return array.dtype === "int32" ? new Int32Array(buffer) : new Float32Array(buffer);
}

/** The number that 16 bits stand for (IEEE 754 binary16). */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
