// Makes each thread's body one file, with only what it uses of the libraries, in the place of what tsc wrote: a thread has a heap of its own, and
// loading a whole package into it for a tenth of its functions costs some 15 MB. Run after tsc.

import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const threads = ["bolt-file-worker", "image-check-worker", "link-keeper-worker"];

/** Messages in fifty languages, which nobody asks for. */
const english = {
  name: "english",
  setup(plugin) {
    const contents = 'export { default as en } from "./en.js";';
    plugin.onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({ contents }));
  },
};

await build({
  ...{ bundle: true, charset: "ascii", legalComments: "inline", logLevel: "warning" },
  ...{ platform: "node", format: "esm", target: "node24", mainFields: ["module", "main"] },
  conditions: ["@pageferry/source"],
  // cbor-x goes without its native part.
  external: ["cbor-extract"],
  entryPoints: threads.map((name) => `${root}/src/sources/${name}.ts`),
  outdir: `${root}/dist/sources`,
  allowOverwrite: true,
  plugins: [english],
});
