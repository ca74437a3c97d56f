// Token text made visible. Text from a model is data: it is only ever put into text nodes or on a canvas.

const SIGNS: Record<string, string> = { " ": "·", "\n": "↵", "\r": "␍", "\r\n": "␍↵", "\t": "⇥", "\u00a0": "⍽" };

// Controls, zero-width characters and the marks that change the direction of the text around them.
// The joiner U+200D is not among them: it holds emoji sequences together and turns nothing around.
const INVISIBLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/** The token with white space and invisible characters shown as signs, cut to `most` signs. */
export function visible(token: string, most = 12): string {
  if (token === "") return "∅";
  // One sign on the screen may be several code points (emoji sequences, accents): never cut inside it.
  const segments = new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(token.slice(0, 400));
  const signs = Array.from(segments, ({ segment }) => SIGNS[segment] ?? segment.replace(INVISIBLE, codePoint));
  const whole = signs.length <= most && token.length <= 400;
  return whole ? signs.join("") : `${signs.slice(0, most - 1).join("")}…`;
}

/** The token in quotation marks, for a sentence. */
export function quoted(token: string, most = 24): string {
  return `“${visible(token, most)}”`;
}

/** The token as part of running text: plain spaces stay spaces, everything else invisible is shown as a sign. */
export function running(token: string): string {
  return visible(token, 60).replaceAll("·", " ").replace("↵", "↵\n");
}

function codePoint(character: string): string {
  return `‹${character.charCodeAt(0).toString(16).padStart(4, "0")}›`;
}
