// A program with a page store of its own, backed up from the inside: it tells each commit, and nobody reads its file from the outside.
// Run it with `npx node -C @pageferry/source examples/embedded/main.ts DIRECTORY`; Ctrl-C ends it with everything safe. Delete
// `app.db` and run it again: the database is restored before it is opened, and counts on.

import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { observer } from "@pageferry/agent";
import { isPageferryError, parseConfig } from "@pageferry/format";
import { localHost, restoreStandalone } from "@pageferry/functions";
import { openStore } from "./store.ts";

const directory = process.argv[2] ?? "embedded-data";
const path = join(directory, "app.db");
await mkdir(directory, { recursive: true });

const config = {
  ...parseConfig({
    databases: [{ name: "app", path }],
    replicas: [{ type: "file", path: join(directory, "replica") }],
    syncInterval: "250ms",
  }),
  dataDir: join(directory, "pageferry"),
};

/** Brings a missing database back. Whether it did: then a new generation begins. */
async function restoreMissing(): Promise<boolean> {
  if (existsSync(path)) return false;
  try {
    const { txId } = await restoreStandalone(config);
    console.log(`restored ${path} at transaction ${txId}`);
    return true;
  } catch (error) {
    // The first start of all: there is nothing to bring back.
    if (isPageferryError(error, "not-found")) return false;
    throw error;
  }
}

const isRestored = await restoreMissing();
await using host = await localHost(config, { http: false });
await using store = await openStore(path);
await using registration = observer(config, { queue: host.queue, isRestored });
const controller = await registration.start(store);
store.onCommit(controller.onPageFlush);
controller.on("acknowledged", ({ txId }) => console.log(`safe up to transaction ${txId}`));
controller.on("alarm", ({ alarm }) => console.error(`${alarm.code}: ${alarm.message}. ${alarm.hint}`));

const ending = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => ending.abort());

let count = Number(store.get("count") ?? 0);
console.log(`counting on from ${count} in ${path}`);
while (!ending.signal.aborted) {
  count += 1;
  await store.update([
    ["count", String(count)],
    [`square of ${count % 1000}`, String(count ** 2)],
  ]);
  await setTimeout(10);
}
await registration.close();
console.log(`counted to ${count}; data-loss window ${controller.dataLossWindow()} ms`);
