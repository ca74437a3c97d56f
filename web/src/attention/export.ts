// The download of the heatmap as it stands on the page.

import type { Drawing } from "../lib/download";
import { TICKS } from "../lib/ramp_legend";
import { attentionDrawing } from "./drawing";
import type { Scene } from "./scene";

/** The scene's picture as a drawing. */
export function drawing(scene: Scene): Drawing {
  const picture = scene.picture();
  if (!picture || !scene.image) throw new Error("nothing is painted yet");
  return attentionDrawing(picture, scene.image, `Attention: ${scene.title}`, [...TICKS.map(String), `${scene.scale} scale`]);
}
