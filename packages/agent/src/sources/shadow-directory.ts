// The shadow directory of a Go application as a source of captured transactions: what witchbolt's `stream` writes with zero replicas.
// docs/shadow-directory.md has the rules; the work is done by the capture thread, over a mirror of the database.
import { openThreadSource } from "./bolt-file.ts";
import type { BoltFileSourceOptions, CaptureSource } from "./capture-event.ts";

/** What a shadow directory is captured with. */
export interface ShadowDirectorySourceOptions extends BoltFileSourceOptions {
  /** Where the application's controller writes. It may not exist yet. What is stored is removed from it. */
  readonly shadowDirectory: string;
  /** Where the mirror and what is remembered lie; as durable as the page tables. */
  readonly mirrorDir: string;
}

/** Begins to capture a shadow directory. `path` names the database in messages; it is not read. */
export function openShadowDirectorySource(options: ShadowDirectorySourceOptions): CaptureSource {
  const { shadowDirectory: directory, mirrorDir, ...rest } = options;
  return openThreadSource(rest, { directory, mirrorDir });
}
