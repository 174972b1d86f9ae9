// For tests: an agent over a model database with companion files, looked at often, and what its host has of them.
import { readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type CompanionsVersion, decodeCompanions } from "@pageferry/format";
import type { AgentOptions } from "../src/agent.ts";
import { type Bench, type MovableFile, movableFile, startBench } from "./agent-bench.ts";
import type { TinyHost } from "./tiny-host.ts";

/** How often files are looked at. */
export const filesMs = 20;

/** Starts an agent; what it has seen of its database is at the host then. */
export async function startFor(
  host: TinyHost,
  directory: string,
  {
    patterns = ["tls/*.pem", "key"],
    file = movableFile(),
    ...more
  }: Partial<AgentOptions> & {
    readonly patterns?: readonly string[];
    readonly file?: MovableFile;
  } = {},
): Promise<Bench> {
  const path = join(directory, "app.db");
  const files = patterns.map((pattern) => join(directory, pattern));
  // The database is a model, and yet there.
  await writeFile(path, "");
  const bench = await startBench(host, directory, file, {
    databases: [{ path, name: "app", files }],
    filesMs,
    ...more,
  });
  await bench.settled();
  return bench;
}

/** Every version that the host has, oldest first. */
export async function versionsAt({ objects }: TinyHost): Promise<CompanionsVersion[]> {
  const found = [...objects].filter(([name]) => name.startsWith("files/"));
  const versions = await Promise.all(found.map(([name, bytes]) => decodeCompanions(name, bytes)));
  return versions.sort((a, b) => a.stampMs - b.stampMs);
}

/** The files of a version, by name. */
export const textsOf = ({ files }: CompanionsVersion): Record<string, string> =>
  Object.fromEntries(files.map(({ name, bytes }) => [name, Buffer.from(bytes).toString()]));

/** How many versions the host has. */
export const count = ({ objects }: TinyHost): number =>
  [...objects.keys()].filter((name) => name.startsWith("files/")).length;

/** What is wrong. */
export const alarmCodes = (bench: Bench): string[] => bench.status().alarms.map(({ code }) => code);

/** Some looks: what was to be sent by then was. */
export const someLooks = () => setTimeout(filesMs * 5 + 1200);

/** Versions that wait for the host, by their files in `directory`, where the agent was started. */
export const waitingIn = (directory: string): string[] =>
  readdirSync(join(directory, "shadow/app/files")).filter((name) => name.endsWith(".envelope"));
