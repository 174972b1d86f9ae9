// Makes the whole command one file, dist/pageferry.mjs at the root of the workspace (or where the first argument says), which needs Node and
// nothing beside it. Bodies of threads, the demo's recording and the versions are inside; what other programs or native modules would do is left out.

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const packages = fileURLToPath(new URL("../..", import.meta.url));
const outfile = resolve(process.argv[2] ?? `${packages}/../dist/pageferry.mjs`);

/** Threads by the name that they are started by; one that starts others comes after them. */
const threads = [
  ["restore-thread", "format/src/node/restore-thread.ts"],
  ["logical-hash-thread", "format/src/node/logical-hash-thread.ts"],
  ["soundness-worker", "cli/src/soundness-worker.ts"],
  ["image-check-worker", "agent/src/sources/image-check-worker.ts"],
  ["link-keeper-worker", "agent/src/sources/link-keeper-worker.ts"],
  ["bolt-file-worker", "agent/src/sources/bolt-file-worker.ts"],
];

/** The modules that look for a file beside themselves, and what they are in a program that has none. */
async function replacements(bodies) {
  const version = JSON.parse(await readFile(`${packages}/cli/package.json`, "utf8")).version;
  const history = (await readFile(`${packages}/cli/demo/history.zst`)).toString("base64");
  const versionModule = `export const packageVersion = () => ${JSON.stringify(version)};`;
  return {
    "cli/src/version.ts": versionModule,
    "functions/src/version.ts": versionModule,
    "cli/src/history-file.ts": `
      export const historyPath = "inside";
      export const readHistoryFile = async () => Buffer.from(${JSON.stringify(history)}, "base64");`,
    "format/src/node/thread-url.ts": `
      const bodies = ${JSON.stringify(bodies)};
      export const threadUrl = (name) => new URL("data:text/javascript;base64," + Buffer.from(bodies[name]).toString("base64"));`,
    // Messages in fifty languages, which nobody asks for.
    "zod/v4/locales/index.js": 'export { default as en } from "./en.js";',
  };
}

function replacing(modules) {
  return {
    name: "replacing",
    setup(plugin) {
      for (const [path, contents] of Object.entries(modules)) {
        const filter = new RegExp(`/${path.replaceAll(".", "\\.")}$`);
        plugin.onLoad({ filter }, () => ({ contents, loader: "js" }));
      }
    },
  };
}

/** Node's own modules are asked for when they are needed: an older Node, which lacks some, then comes as far as the message that says so. */
const lateBuiltins = {
  name: "late-builtins",
  setup(plugin) {
    plugin.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "builtin" }));
    plugin.onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = pageferryRequire(${JSON.stringify(path)});`,
      loader: "js",
    }));
  },
};

const common = {
  ...{ bundle: true, minify: true, metafile: true, write: false },
  ...{ legalComments: "none", charset: "ascii", logLevel: "warning" },
  ...{ platform: "node", format: "esm", mainFields: ["module", "main"] },
  // From the sources; nothing needs to be built before.
  conditions: ["@pageferry/source"],
  // ssh2 and cbor-x go without their native parts.
  ...{ loader: { ".node": "empty" }, external: ["cpu-features", "cbor-extract"] },
};

/** Libraries that were written for CommonJS ask for these. */
const banner = [
  'import { createRequire as pageferryCreateRequire } from "node:module";',
  'import { fileURLToPath as pageferryPath } from "node:url";',
  "const pageferryRequire = pageferryCreateRequire(import.meta.url);",
  "const require = pageferryRequire;",
  "const __filename = pageferryPath(import.meta.url);",
  'const __dirname = pageferryPath(new URL(".", import.meta.url));',
].join("");

/** The body of a thread: a module by itself, which may start those that are given. */
async function threadBody(entry, bodies) {
  const { outputFiles } = await build({
    ...{ ...common, target: "node24", entryPoints: [`${packages}/${entry}`] },
    plugins: [replacing(await replacements(bodies))],
  });
  return outputFiles[0].text;
}

/** What the libraries ask to be told with their code. */
async function licences({ inputs }) {
  const folders = new Set(
    Object.keys(inputs).flatMap((path) => /^(?:.*node_modules\/)(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []),
  );
  const texts = [];
  for (const folder of [...folders].sort()) {
    const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
    const file = (await readdir(folder)).find((one) => /^licen[cs]e/i.test(one));
    const text = file === undefined ? `License: ${license}` : await readFile(`${folder}/${file}`, "utf8");
    texts.push(`${name} ${version}\n\n${text.trim()}`);
  }
  // One letter that is not ASCII, and Node keeps the whole file at two bytes a letter.
  const escaped = (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`;
  return texts
    .join(`\n\n${"-".repeat(72)}\n\n`)
    .replaceAll("*/", "* /")
    .replaceAll(/[^\n -~]/gu, escaped);
}

const bodies = {};
for (const [name, path] of threads) bodies[name] = await threadBody(path, bodies);
const { outputFiles, metafile } = await build({
  // What newer languages have is written in older words, for an older Node to come to the message that it is too old.
  ...{ ...common, target: "node20", banner: { js: banner }, entryPoints: [`${packages}/cli/src/bin.ts`] },
  plugins: [replacing(await replacements(bodies)), lateBuiltins],
});
const program = `${outputFiles[0].text}\n/*\n${await licences(metafile)}\n*/\n`;
await mkdir(dirname(outfile), { recursive: true });
await writeFile(outfile, program, { mode: 0o755 });
process.stdout.write(`${basename(outfile)}: ${(Buffer.byteLength(program) / 1e6).toFixed(1)} MB\n`);
