// Where the body of a thread lies: beside the module that starts it, as .ts in the sources and as .js in the package. A program in one file has no
// files beside it: its build (packages/cli/build/bundle.mjs) puts a module with the bodies themselves in the place of this one.

/** The place of the body `name`, beside the module whose `import.meta.url` is given. */
export function threadUrl(name: string, beside: string): URL {
  return new URL(`./${name}.${beside.endsWith(".ts") ? "ts" : "js"}`, beside);
}
