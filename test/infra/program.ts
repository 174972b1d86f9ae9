// Bundles an sst.config.ts as SST's command does (4.17.1), into its platform, so that it can be imported: its globals in every file of
// the program whose name ends in .js, .ts, .jsx or .tsx and whose path holds no `.sst`, no import at the top of the configuration.

import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { esbuild, type Plugin, platform } from "./platform.ts";

/** A rule that is broken on purpose: a text of one file that stands for another while it is read. */
export interface Mutation {
  /** The end of the file's path. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export interface ProgramOptions {
  /** The directory of the configuration. */
  readonly root: string;
  /** The configuration. */
  readonly config: string;
  readonly mutations: readonly Mutation[];
}

const banner = `
import { createRequire as topLevelCreateRequire } from 'module';
const require = topLevelCreateRequire(import.meta.url);
import { fileURLToPath as topLevelFileUrlToPath, URL as topLevelURL } from "url"
const __filename = topLevelFileUrlToPath(import.meta.url)
const __dirname = topLevelFileUrlToPath(new topLevelURL(".", import.meta.url))
`;

const external = [
  ...["@pulumi/*", "@pulumiverse/*", "@sst-provider/*", "@aws-sdk/*"],
  ...["undici", "esbuild", "archiver", "glob", "vite"],
];

/** Bundles `app()` of a configuration alone. */
export async function bundleApp(options: ProgramOptions, outfile: string): Promise<void> {
  await bundle(options, outfile, {
    header: "function $config(x) { return x }",
    code: `import config from ${JSON.stringify(options.config)}; export default config;`,
    plugins: [mutate(options.mutations, ""), refuseImports],
  });
}

/** Bundles `run()`, with the globals that a program may use. */
export async function bundleRun(
  options: ProgramOptions,
  outfile: string,
  define: Readonly<Record<string, unknown>>,
): Promise<void> {
  const globals = [
    'import * as aws from "@pulumi/aws";',
    `import * as sst from ${JSON.stringify(join(platform, "src", "components"))};`,
  ].join("\n");
  await bundle(options, outfile, {
    header: "",
    code: `import { run } from ${JSON.stringify(join(platform, "src", "auto", "run.ts"))};
      import config from ${JSON.stringify(options.config)};
      export default () => run(config.run);`,
    define: Object.fromEntries(Object.entries(define).map(([name, value]) => [name, JSON.stringify(value)])),
    inject: [join(platform, "src", "shim", "run.js")],
    plugins: [mutate(options.mutations, globals), refuseImports],
  });
}

interface Part {
  readonly header: string;
  readonly code: string;
  readonly plugins: readonly Plugin[];
  readonly define?: Readonly<Record<string, string>>;
  readonly inject?: readonly string[];
}

async function bundle({ root }: ProgramOptions, outfile: string, part: Part): Promise<void> {
  const { header, code, ...rest } = part;
  await esbuild.build({
    ...{ ...rest, outfile, external, absWorkingDir: root, bundle: true, write: true, logLevel: "silent" },
    ...{ platform: "node", format: "esm", mainFields: ["module", "main"] },
    nodePaths: [join(platform, "node_modules")],
    banner: { js: banner + header },
    stdin: { contents: code, resolveDir: root, loader: "ts" },
  });
}

/** Puts SST's globals before every file of the program, and the mutations into theirs: each must change its file once. */
function mutate(mutations: readonly Mutation[], globals: string): Plugin {
  return {
    name: "globals",
    setup(build) {
      build.onLoad({ filter: /\.(js|ts|jsx|tsx)$/ }, async ({ path }) => {
        if (path.includes(".sst")) return undefined;
        let text = await readFile(path, "utf8");
        for (const { file, from, to } of mutations) {
          if (!path.endsWith(file)) continue;
          if (text.split(from).length !== 2) throw new Error(`${file} does not hold once: ${from}`);
          text = text.replace(from, () => to);
        }
        return { contents: `${globals}\n${text}`, loader: "default" };
      });
    },
  };
}

const refuseImports: Plugin = {
  name: "no-imports-at-the-top",
  setup(build) {
    build.onResolve({ filter: /.*/ }, ({ importer, kind, path }) =>
      basename(importer) === "sst.config.ts" && kind === "import-statement" && !isGlobal(path)
        ? { errors: [{ text: `sst.config.ts imports ${path} at its top` }] }
        : undefined,
    );
  },
};

/** Those that the bundler itself has put there. */
function isGlobal(path: string): boolean {
  return path === "@pulumi/aws" || path.startsWith(platform);
}
