// Bundles every handler of hosts/lambda, each into a directory of its own, `dist/lambda/<name>/handler.mjs`: what a deployment
// uploads. Drivers of replicas that a handler loads by need lie beside it, in chunks that are read when they are needed.

import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const sources = join(root, "src/hosts/lambda");
/** Another directory may be named. */
const target = process.argv[2] === undefined ? join(root, "dist/lambda") : resolve(process.argv[2]);

/** A handler is a file with a function of this name; its helpers lie beside it. */
const handlerNames = new Set(["fan-out", "lane", "compact", "prune", "verify", "repair", "api"]);

/** Libraries that were written for CommonJS ask for these. */
const banner = [
  'import { createRequire as pageferryRequire } from "node:module";',
  'import { fileURLToPath as pageferryPath } from "node:url";',
  "const require = pageferryRequire(import.meta.url);",
  "const __filename = pageferryPath(import.meta.url);",
  'const __dirname = pageferryPath(new URL(".", import.meta.url));',
].join("");

/** What all bundles have in common. */
const settings = {
  ...{
    bundle: true,
    minify: true,
    metafile: true,
    legalComments: "none",
    charset: "utf8",
    logLevel: "warning",
  },
  ...{ platform: "node", format: "esm", target: "node24", mainFields: ["module", "main"] },
  // The workspace's packages are bundled from their sources; nothing needs to be built before.
  conditions: ["@pageferry/source"],
  // ssh2 goes without its native parts.
  loader: { ".node": "empty" },
  external: ["cpu-features"],
  banner: { js: banner },
};

/** A bundle lies far from the package.json that the version is read from. */
const version = JSON.parse(await readFile(join(root, "package.json"), "utf8")).version;
const versionPlugin = {
  name: "version",
  setup: (build) =>
    build.onLoad({ filter: /functions\/src\/version\.ts$/ }, () => ({
      contents: `export const packageVersion = () => ${JSON.stringify(version)};`,
    })),
};

/** Messages in fifty languages, which nobody asks for: a fifth of a bundle. */
const englishPlugin = {
  name: "english",
  setup: (build) =>
    build.onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: 'export { default as en } from "./en.js";',
    })),
};

/** Files that are started as threads, by those that start them: they are looked for beside the bundle, as .js. */
const threads = {
  "restore-threads.ts": "restore-thread",
  "logical-hash-file.ts": "logical-hash-thread",
};

async function bundle(name) {
  const outdir = join(target, name);
  await rm(outdir, { recursive: true, force: true });
  const { metafile } = await build({
    ...settings,
    entryPoints: { handler: join(sources, `${name}.ts`) },
    outdir,
    outExtension: { ".js": ".mjs" },
    splitting: true,
    plugins: [versionPlugin, englishPlugin],
  });
  const included = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.keys(inputs));
  for (const [starter, thread] of Object.entries(threads)) {
    const path = included.find((input) => input.endsWith(`/node/${starter}`));
    if (path === undefined) continue;
    const entry = join(process.cwd(), path, "..", `${thread}.ts`);
    await build({
      ...settings,
      ...{ entryPoints: [entry], outfile: join(outdir, `${thread}.js`), plugins: [englishPlugin] },
    });
  }
  await writeFile(join(outdir, "package.json"), '{ "type": "module" }\n');
  return metafile;
}

/** What is read at a start: the handler, what it imports, and the chunks of one driver. */
function startBytes({ outputs }, driver) {
  const seen = new Set();
  const visit = (path) => {
    if (seen.has(path) || outputs[path] === undefined) return;
    seen.add(path);
    for (const { path: next, kind } of outputs[path].imports) if (kind === "import-statement") visit(next);
  };
  for (const [path, { entryPoint, inputs }] of Object.entries(outputs)) {
    const isDriver = Object.keys(inputs).some((input) => driver.some((one) => input.endsWith(one)));
    if (entryPoint?.includes("/hosts/lambda/") || isDriver) visit(path);
  }
  return [...seen].reduce((sum, path) => sum + outputs[path].bytes, 0);
}

const s3Driver = ["stores/s3.ts", "stores/retrying.ts"];

const sizes = {};
const kilobytes = (bytes) => `${Math.round(bytes / 1000)} kB`;
const files = (await readdir(sources)).map((file) => basename(file, ".ts"));
for (const name of files.filter((file) => handlerNames.has(file))) {
  const metafile = await bundle(name);
  const total = Object.values(metafile.outputs).reduce((sum, { bytes }) => sum + bytes, 0);
  const start = startBytes(metafile, s3Driver);
  sizes[name] = { start, total };
  process.stdout.write(`${name}: ${kilobytes(start)} with S3 alone, ${kilobytes(total)} with all drivers\n`);
}
await writeFile(join(target, "sizes.json"), `${JSON.stringify(sizes)}\n`);
