// Bundles each widget (the files directly in src/) into one self-contained ES module.
import { readdirSync } from "node:fs";
import * as esbuild from "esbuild";

const options = {
  entryPoints: readdirSync("src").filter((name) => name.endsWith(".ts")).map((name) => `src/${name}`),
  outdir: "../llmwidgets/static",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  loader: { ".css": "text" },
  logLevel: "warning",
};

if (process.argv.includes("--watch")) {
  const context = await esbuild.context(options);
  await context.watch();
} else {
  await esbuild.build(options);
}
