// Agent and host in one Node process, without HTTP between them: what `pageferry up` does, for those who want it inside their own
// program. Run it with `npx node -C @pageferry/source examples/one-process/main.ts path/to/app.db`; Ctrl-C drains and ends it.

import { once } from "node:events";
import { createAgent } from "@pageferry/agent";
import { localHost } from "@pageferry/functions";

const path = process.argv[2];
if (path === undefined) throw new Error("usage: main.ts path/to/app.db");

await using host = await localHost({
  dataDir: "pageferry-data",
  databases: [{ name: "app", path }],
  replicas: [{ type: "file", path: "pageferry-data/replica" }],
});
await using agent = createAgent({
  databases: [{ name: "app", path }],
  queue: host.queue,
  shadowDir: "pageferry-data/shadow",
});
agent.on("acknowledged", ({ txId }) => console.log(`safe up to transaction ${txId}`));
agent.on("alarm", ({ alarm }) => console.error(`${alarm.code}: ${alarm.message}. ${alarm.hint}`));
await agent.start();
console.log(`backing up ${path}; ${host.url}`);

await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
