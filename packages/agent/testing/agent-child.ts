// For tests: an agent in a process of its own, to be killed. It commits to a model database without pause, and sends it.
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { createAgent } from "../src/agent.ts";
import { createHttpQueue } from "../src/queues/http.ts";
import { createModel, type ModelSource, modelFileAt, openModelSource } from "./model-database.ts";

const [directory = "", url = "", granularity = "interval"] = process.argv.slice(2);
const file = modelFileAt(directory, createModel(1));
let source: ModelSource | undefined;
let isEnding = false;

const agent = createAgent({
  databases: [{ path: join(directory, "app.db"), name: "app" }],
  queue: createHttpQueue({ url, timeoutMs: 2000 }),
  shadowDir: join(directory, "shadow"),
  granularity: granularity === "transaction" ? "transaction" : "interval",
  syncIntervalMs: 15,
  heartbeatMs: 150,
  needsMs: 50,
  checkpointMs: 40,
  snapshotIntervalMs: 300,
  random: () => 0,
  openSource(options) {
    source = openModelSource(options, () => file);
    return source;
  },
});

process.on("SIGTERM", () => {
  isEnding = true;
});

await agent.start();
process.stdout.write("started\n");
for (let round = 0; !isEnding; round += 1) {
  file.write(file.newest() + 1 + (round % 3));
  source?.capture();
  await setTimeout(round % 4);
}
await agent.stop({ deadlineMs: 10_000 });
process.stdout.write(`${file.newest()}\n`);
