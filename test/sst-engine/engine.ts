// Pulumi's own engine, in the version that SST's command was built with: made by Go from the module proxy, once, with the checksums of
// pulumi/go.sum. SST would download it from a release page; it takes the one that lies where it keeps its own.

import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { repository } from "../infra/platform.ts";
import { runProcess } from "../processes.ts";

/** What is made here is kept for the next run. */
const cache = join(repository, "test", ".cache", "sst-engine");

const engineModule = "github.com/pulumi/pulumi/pkg/v3";
/** Some minutes on an idle machine; this is for a busy one. */
const buildTimeoutMs = 45 * 60_000;

const { resolve } = createRequire(join(repository, "package.json"));
/** The command itself, without what starts it. */
export const sstCommand: string = resolve(`sst-${process.platform}-${process.arch}/bin/sst`);

export interface Engine {
  readonly path: string;
  /** `v3.215.0` */
  readonly version: string;
}

/** The engine; it is built if it is not there. `say` is told what takes long. */
export async function preparedEngine(say: (what: string) => void): Promise<Engine> {
  const source = join(import.meta.dirname, "pulumi");
  const version = await pinnedVersion(source);
  const path = join(cache, `pulumi-${version}`);
  if (!existsSync(path)) {
    say(`building pulumi ${version}: some minutes, once`);
    await mkdir(cache, { recursive: true });
    const building = `${path}.${process.pid}`;
    try {
      await go(buildArguments(building, version), source);
      await rename(building, path);
    } finally {
      await rm(building, { force: true });
    }
  }
  return { path, version };
}

/** The version that pulumi/go.mod names; it must be the one, by version and by checksum, that SST's command is made of. */
async function pinnedVersion(source: string): Promise<string> {
  const listing = await go(["version", "-m", sstCommand]);
  const [, version = "", checksum = ""] =
    new RegExp(`${engineModule}\\s+(v\\S+)\\s+(h1:\\S+)`).exec(listing) ?? [];
  const sums = await readFile(join(source, "go.sum"), "utf8");
  const pinned = (await go(["list", "-m", engineModule], source)).trim();
  if (version === "" || pinned !== `${engineModule} ${version}`) {
    throw new Error(
      `sst was built with pulumi ${version || "?"}, and pulumi/go.mod names ${pinned}: in test/sst-engine/pulumi, ` +
        `go get -tool ${engineModule}/cmd/pulumi@${version}`,
    );
  }
  if (!sums.includes(`${pinned} ${checksum}\n`))
    throw new Error(`go.sum has another ${pinned} than SST: ${checksum}`);
  return version;
}

function buildArguments(output: string, version: string): readonly string[] {
  const named = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version";
  return [
    ...["build", "-mod=readonly", "-trimpath", "-buildvcs=false"],
    ...["-ldflags", `-s -w -X ${named}=${version}`, "-o", output],
    `${engineModule}/cmd/pulumi`,
  ];
}

async function go(args: readonly string[], cwd: string = repository): Promise<string> {
  const { code, stdout, stderr } = await runProcess("nice", ["-n", "10", "go", ...args], {
    cwd,
    timeoutMs: buildTimeoutMs,
    env: { CGO_ENABLED: "0" },
  });
  if (code !== 0) throw new Error(`go ${args[0]}: ${stderr.slice(-2000)}`);
  return stdout;
}
