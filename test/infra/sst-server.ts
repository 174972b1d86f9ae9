// What a program asks the `sst` command for while it runs: where the account keeps assets, and a function's bundle. On loopback.

import { existsSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { text } from "node:stream/consumers";
import type { Graph } from "./graph.ts";
import { esbuild } from "./platform.ts";
import { account, region } from "./provider.ts";

interface BuildInput {
  readonly functionID: string;
  readonly handler: string;
  readonly bundle?: string;
}

export interface SstServer extends AsyncDisposable {
  readonly url: string;
  readonly bundles: Graph["bundles"];
}

/** Starts answering. */
export async function serveSst(): Promise<SstServer> {
  const bundles: Record<string, Graph["bundles"][string]> = {};
  const server = createServer(async (request, response) => {
    const { method, params } = JSON.parse(await text(request)) as { method: string; params: [BuildInput] };
    try {
      response.end(JSON.stringify({ result: await answerTo(method, params[0], bundles) }));
    } catch (error) {
      response.end(JSON.stringify({ error: String(error) }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bundles,
    [Symbol.asyncDispose]: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

async function answerTo(
  method: string,
  input: BuildInput,
  bundles: Record<string, Graph["bundles"][string]>,
): Promise<unknown> {
  switch (method) {
    case "Provider.Aws.Bootstrap":
      return {
        ...{ asset: `sst-asset-${region}`, state: "sst-state", assetEcrRegistryId: account },
        assetEcrUrl: `${account}.dkr.ecr.${region}.amazonaws.com/sst-asset`,
      };
    case "Runtime.Build":
      return buildFunction(input, bundles);
    default:
      throw new Error(`no answer to ${method}`);
  }
}

/** A bundle is taken as it is, and is written to, as by the command; what it exports is looked up in it. */
async function buildFunction(
  { functionID, handler, bundle }: BuildInput,
  bundles: Record<string, Graph["bundles"][string]>,
): Promise<unknown> {
  if (bundle === undefined) throw new Error(`${functionID} is to be bundled while deploying`);
  const wanted = extname(handler);
  const file = [".mjs", ".js", ".cjs"]
    .map((extension) => join(bundle, `${handler.slice(0, -wanted.length)}${extension}`))
    .find(existsSync);
  const errors: string[] = [];
  if (file === undefined) errors.push(`there is no handler ${handler} in ${bundle}`);
  else {
    const exports = await exportsOf(file);
    if (!exports.includes(wanted.slice(1))) errors.push(`${file} does not export ${wanted.slice(1)}`);
    bundles[functionID] = { handler, exports, files: await readdir(bundle) };
  }
  await writeFile(join(bundle, "resource.enc"), functionID);
  return { handler, out: bundle, errors, sourcemaps: [] };
}

async function exportsOf(file: string): Promise<readonly string[]> {
  const { metafile } = await esbuild.build({
    ...{ entryPoints: [file], write: false, metafile: true, logLevel: "silent" },
    ...{ format: "esm", outdir: "nowhere" },
  });
  return Object.values(metafile?.outputs ?? {}).flatMap(({ exports }) => exports);
}
