// The functions' code: bundles that are built before they are published, never from sources while deploying.

import { cpSync, existsSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";

export type HandlerName = "fan-out" | "lane" | "compact" | "prune" | "verify" | "repair" | "api";

/** The file and its export in every bundle. */
export const handlerEntry: string = "handler.handler";
const bundleFile = "handler.mjs";
/** SST's command leaves one beside every package.json that it comes upon, also in a bundle. */
const typesFile = "sst-env.d.ts";

/**
 * Where the bundle of one function lies, for `bundle`. It is a copy: SST writes a file into the directory that it is given, and
 * two functions of one handler would write it at once. It is made anew each time, of what was built alone: what an earlier
 * command left would make another function of the same code, on this machine and not on the next one.
 */
export function bundleOf(handler: HandlerName, functionName: string, handlers: string | undefined): string {
  const directory = join(
    handlers === undefined ? publishedHandlers() : join($cli.paths.root, handlers),
    handler,
  );
  if (!existsSync(join(directory, bundleFile))) {
    throw new Error(
      `Pageferry: there is no ${join(directory, bundleFile)}. In the repository: npm run build:lambda -w packages/functions`,
    );
  }
  const copy = join($cli.paths.work, "pageferry", functionName);
  rmSync(copy, { recursive: true, force: true });
  cpSync(directory, copy, { recursive: true, filter: (source) => basename(source) !== typesFile });
  return copy;
}

/** SST bundles this module into its own directory: the package is found from the app, not from here. */
function publishedHandlers(): string {
  const { resolve } = createRequire(join($cli.paths.root, "package.json"));
  return join(dirname(resolve("@pageferry/sst/package.json")), "dist", "handlers");
}
