// SST's platform as `sst install` lays it down, and what the evaluation borrows of it. Typed as far as it is used.

import { createRequire } from "node:module";
import { join } from "node:path";

export const repository = join(import.meta.dirname, "..", "..");
/** The path keeps its `.sst`: SST tells its own files from a program's by it. */
export const platform = join(repository, "test", ".cache", ".sst", "platform");

const require = createRequire(join(platform, "package.json"));

interface Loaded {
  readonly contents: string;
  readonly loader: "default";
}

interface PluginBuild {
  onLoad(on: { filter: RegExp }, load: (at: { path: string }) => Promise<Loaded | undefined>): void;
  onResolve(
    on: { filter: RegExp },
    resolve: (at: {
      importer: string;
      kind: string;
      path: string;
    }) => { errors: { text: string }[] } | undefined,
  ): void;
}

export interface Plugin {
  readonly name: string;
  setup(build: PluginBuild): void;
}

interface BuildResult {
  readonly metafile?: { readonly outputs: Readonly<Record<string, { readonly exports: readonly string[] }>> };
}

interface Esbuild {
  build(
    options: Readonly<Record<string, unknown>> & { readonly plugins?: readonly Plugin[] },
  ): Promise<BuildResult>;
}

export interface MockResource {
  readonly type: string;
  readonly name: string;
  readonly inputs: Record<string, unknown>;
}

/** What a provider would answer. */
export interface Mocks {
  newResource(resource: MockResource): { id: string; state: Record<string, unknown> };
  call(call: { token: string; inputs: Record<string, unknown> }): Record<string, unknown>;
}

interface Registration {
  getType(): string;
  getName(): string;
  getParent(): string;
  getProtect(): boolean;
  getRetainondelete(): boolean;
}

interface Output {
  promise(): Promise<unknown>;
}

interface Pulumi {
  readonly Output: { isInstance(value: unknown): value is Output };
  readonly output: (value: unknown) => Output;
  readonly runtime: {
    setMocks(
      mocks: Mocks,
      project: string,
      stack: string,
      preview: boolean,
      organization: string,
    ): Promise<void>;
    getMonitor(): { registerResource(request: Registration, callback: unknown): unknown };
    runInPulumiStack(program: () => Promise<unknown>): Promise<unknown>;
    disconnect(): Promise<void>;
  };
}

export const esbuild: Esbuild = require("esbuild");
export const pulumi: Pulumi = require("@pulumi/pulumi");
