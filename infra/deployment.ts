// What every concern is given: whose resources these are, and what becomes of them when the stage is removed.

import type { PageferryArgs } from "./args.ts";

export interface Deployment {
  /** What all resources' names begin with. */
  readonly name: string;
  readonly args: PageferryArgs;
  /** Options of what can be made again. */
  readonly child: { readonly parent: $util.Resource };
  /** Options of what holds data: it stays when the stage is removed, whatever the app's `removal` says. */
  readonly kept: { readonly parent: $util.Resource; readonly retainOnDelete: boolean };
}

/** `main` as a part of a resource's name: `Main`. */
export function capital(key: string): string {
  return key.charAt(0).toUpperCase() + key.slice(1);
}
