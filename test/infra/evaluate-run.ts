// A process that evaluates one configuration and writes its graph to a file; `evaluate.ts` starts it. A process of its own, because Pulumi
// keeps its state in the module, and because an error in it may settle no promise: the first one that nobody took ends the process.

import { rmSync } from "node:fs";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import type { EvaluateOptions } from "./evaluate.ts";
import type { Graph, Inputs, Resource } from "./graph.ts";
import { type MockResource, platform, pulumi } from "./platform.ts";
import { bundleApp, bundleRun, type Mutation } from "./program.ts";
import { answer, region, stateOf } from "./provider.ts";
import { serveSst } from "./sst-server.ts";

/** How Pulumi marks a secret on its way. */
const secretMark = "4dabf18193072939515e22adb298388d";

const [outputFile = "", optionsJson = "{}"] = process.argv.slice(2);
const {
  root,
  config,
  stage,
  secrets = {},
  dev = false,
  ...asked
} = JSON.parse(optionsJson) as EvaluateOptions;

const work = await mkdtemp(join(tmpdir(), "pageferry-sst-"));
const bundleFile = join(platform, `evaluated.${process.pid}.mjs`);
const mutations = [...(asked.mutations ?? []), ...(asked.standIns === true ? [await standIn()] : [])];
process.on("exit", () => {
  rmSync(work, { recursive: true, force: true });
  rmSync(bundleFile, { force: true });
});
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  });
}

const app = await readApp();
await using server = await serveSst();
Object.assign(process.env, { SST_SERVER: server.url, SST_AWS_REGION: region });
for (const [name, value] of Object.entries(secrets)) process.env[`SST_SECRET_${name}`] = value;

const resources: { type: string; name: string; inputs: Inputs }[] = [];
await pulumi.runtime.setMocks(
  {
    newResource: (resource: MockResource) => {
      resources.push({ type: resource.type, name: resource.name, inputs: plain(resource.inputs) as Inputs });
      return stateOf(resource);
    },
    call: answer,
  },
  ...([app.name, app.stage, false, "organization"] as const),
);
const options = recordOptions();
const outputs = await runProgram();
const graph: Graph = {
  ...{ app, outputs, bundles: server.bundles },
  resources: resources.map((resource) => ({ ...resource, options: options.get(keyOf(resource)) ?? {} })),
};
await writeFile(outputFile, JSON.stringify(graph));
process.exit(0);

async function readApp(): Promise<Graph["app"]> {
  await bundleApp({ root, config, mutations: ofConfig() }, bundleFile);
  const { default: loaded } = await import(`${pathToFileURL(bundleFile).href}?app`);
  return { ...(await loaded.app({ stage })), stage };
}

/** Bundles that export what they should, with what earlier commands left, and the mutation that names them. */
async function standIn(): Promise<Mutation> {
  for (const name of ["fan-out", "lane", "compact", "prune", "verify", "repair", "api"]) {
    await mkdir(join(work, "handlers", name), { recursive: true });
    await writeFile(join(work, "handlers", name, "handler.mjs"), "export const handler = () => undefined;");
    await writeFile(join(work, "handlers", name, "sst-env.d.ts"), "");
  }
  await mkdir(join(work, "pageferry", "BackupFanOut"), { recursive: true });
  await writeFile(join(work, "pageferry", "BackupFanOut", "chunk-OF-BEFORE.mjs"), "");
  const to = relative(root, join(work, "handlers"));
  return { file: "sst.config.ts", from: "packages/functions/dist/lambda", to };
}

/** `app()` reads the configuration alone. */
function ofConfig() {
  return mutations.filter(({ file }) => config.endsWith(file));
}

async function runProgram(): Promise<Graph["outputs"]> {
  const paths = { home: work, root, work, platform };
  const define = {
    $app: app,
    $dev: dev,
    $cli: { command: dev ? "dev" : "deploy", dev, state: { version: {} }, paths },
  };
  await bundleRun({ root, config, mutations }, bundleFile, define);
  const { default: program } = await import(`${pathToFileURL(bundleFile).href}?run`);
  const result = await pulumi.runtime.runInPulumiStack(program);
  const value = await pulumi.output(result).promise();
  await pulumi.runtime.disconnect();
  return plain(value) as Graph["outputs"];
}

/** Mocks do not tell what a resource's options are. */
function recordOptions(): ReadonlyMap<string, Resource["options"]> {
  const monitor = pulumi.runtime.getMonitor();
  const register = monitor.registerResource.bind(monitor);
  const seen = new Map<string, Resource["options"]>();
  monitor.registerResource = (request, callback) => {
    seen.set(keyOf({ type: request.getType(), name: request.getName() }), {
      parent: request.getParent() || undefined,
      protect: request.getProtect() || undefined,
      retainOnDelete: request.getRetainondelete() || undefined,
    });
    return register(request, callback);
  };
  return seen;
}

function keyOf({ type, name }: { readonly type: string; readonly name: string }): string {
  return `${type} ${name}`;
}

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  if (secretMark in value && "value" in value) return plain(value.value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
