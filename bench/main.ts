// `npm run bench` runs everything, `npm run bench -- NAME…` some. Prints JSON lines: the machine, then each benchmark.
// The figures of one run, with the goals beside them, are in README.md.
import { describeMachine } from "./machine.ts";

const benches: Record<string, () => Promise<unknown>> = {
  encode: async () => (await import("./encode.ts")).benchEncode(),
  capture: async () => (await import("./capture.ts")).benchCapture(),
  latency: async () => (await import("./latency.ts")).benchLatency(),
  restore: async () => (await import("./restore.ts")).benchRestore(),
  "api-restore": async () => (await import("./api.ts")).benchApiRestore(),
  "api-latency": async () => (await import("./api.ts")).benchApiLatency(),
  plan: async () => (await import("./time.ts")).benchPlan(),
  compaction: async () => (await import("./time.ts")).benchCompaction(),
  inspect: async () => (await import("./inspect.ts")).benchInspect(),
  newest: async () => (await import("./newest.ts")).benchNewest(),
  status: async () => (await import("./status.ts")).benchStatus(),
  large: async () => (await import("./time.ts")).benchLarge(),
  day: async () => (await import("./time.ts")).benchDay(),
  kept: async () => (await import("./time.ts")).benchKept(),
  freelist: async () => (await import("./time.ts")).benchFreelist(),
  stores: async () => (await import("./stores.ts")).benchStores(),
  aws: async () => (await import("./aws.ts")).benchAws(),
  idle: async () => (await import("./idle.ts")).benchIdle(),
  "agent-load": async () => (await import("./agent-load.ts")).benchAgentLoad(),
  memory: async () => (await import("./memory.ts")).benchMemory(),
  writer: async () => (await import("./writer-ratio.ts")).benchWriterRatio(),
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in benches));
if (unknown.length > 0) {
  console.error(`no such benchmark: ${unknown.join(", ")}; there are ${Object.keys(benches).join(", ")}`);
  process.exit(2);
}
console.log(JSON.stringify({ machine: await describeMachine() }));
for (const [name, bench] of Object.entries(benches)) {
  if (wanted.length === 0 || wanted.includes(name)) {
    console.log(JSON.stringify({ [name]: await bench() }));
  }
}
