// What the application pays: its commit rate beside `pageferry up`, as a ratio to the same run without, in pairs,
// because the machine drifts. Writer, agent and host share the cores, which is the worst case.
import { listRanges, newestStored } from "../test/archive.ts";
import { runWriter, startWriter, type WriterLine, type WriterOptions } from "../test/go-apps.ts";
import { startUp } from "../test/pageferry.ts";
import { temporaryDirectory, until } from "../test/temporary.ts";
import { median, round } from "./machine.ts";

type Load = Omit<WriterOptions, "path" | "log">;

const loads: Record<string, Load> = {
  "2000 × 10 × 256 B flat out": { keys: 10, value: 256 },
  "1 × 64 B flat out": { keys: 1, value: 64, nested: 0, overflow: 0 },
  "1000 × 1 KiB flat out": { keys: 1000, value: 1024 },
  "25 MB, flat out": { initialMB: 25 },
  "NoFreelistSync, flat out": { noFreelistSync: true },
  "500 tx/s": { rate: 500 },
  "1 × 64 B, 1,000 tx/s": { keys: 1, value: 64, nested: 0, overflow: 0, rate: 1000 },
  "1000 × 1 KiB, 10 tx/s": { keys: 1000, value: 1024, rate: 10 },
};

async function alone(load: Load, seconds: number): Promise<WriterLine> {
  await using directory = await temporaryDirectory();
  return await runWriter({ ...load, path: directory.file("app.db"), seconds });
}

async function observed(load: Load, seconds: number): Promise<WriterLine & { readonly ranges: number }> {
  await using directory = await temporaryDirectory();
  const [path, dataDir] = [directory.file("app.db"), directory.file("data")];
  // The file exists and is backed up before the measured part begins.
  await runWriter({ ...load, path, count: 1 });
  await using host = await startUp([path], { dataDir });
  const root = host.replica("app");
  await until("a first object", async () => (await newestStored(root)) > 0, { timeoutMs: 60_000 });
  await using writer = await startWriter({ ...load, path, seconds, seed: 2 });
  const line = await writer.done();
  return { ...line, ranges: (await listRanges(root)).length };
}

/** Pairs for each load: the median of the ratios, and the p99 of a commit in both. */
export async function benchWriterRatio(): Promise<Record<string, Record<string, number>>> {
  const [pairs, seconds] = [3, 10];
  const results: Record<string, Record<string, number>> = {};
  for (const [name, load] of Object.entries(loads)) {
    const ratios: number[] = [];
    const lines: { alone: WriterLine; observed: WriterLine }[] = [];
    for (let pair = 0; pair < pairs; pair += 1) {
      const both =
        pair % 2 === 0
          ? { alone: await alone(load, seconds), observed: await observed(load, seconds) }
          : await (async () => {
              const second = await observed(load, seconds);
              return { alone: await alone(load, seconds), observed: second };
            })();
      ratios.push(both.observed.perSecond / both.alone.perSecond);
      lines.push(both);
    }
    const of = (pick: (line: WriterLine) => number, which: "alone" | "observed") =>
      round(median(lines.map((both) => pick(both[which]))));
    results[name] = {
      ratio: round(median(ratios)),
      "lowest ratio": round(Math.min(...ratios)),
      "tx/s alone": of((line) => line.perSecond, "alone"),
      "tx/s observed": of((line) => line.perSecond, "observed"),
      "p99 ms alone": of((line) => line.p99Ms, "alone"),
      "p99 ms observed": of((line) => line.p99Ms, "observed"),
    };
  }
  return results;
}
