// The functions' code: bundles that are built before they are published, never from sources while deploying.

import { cpSync, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export type HandlerName = "fan-out" | "lane" | "compact" | "prune" | "verify" | "repair" | "api";

/** The file and its export in every bundle. */
export const handlerEntry: string = "handler.handler";
const bundleFile = "handler.mjs";

/**
 * Where the bundle of one function lies, for `bundle`. It is a copy: SST writes a file into the directory that it is given, and
 * two functions of one handler would write it at once.
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
  cpSync(directory, copy, { recursive: true });
  return copy;
}

/** SST bundles this module into its own directory: the package is found from the app, not from here. */
function publishedHandlers(): string {
  const { resolve } = createRequire(join($cli.paths.root, "package.json"));
  return join(dirname(resolve("@pageferry/sst/package.json")), "dist", "handlers");
}
