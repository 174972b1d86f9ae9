// What the figures were measured on, and with which luck: everything is printed as medians of several runs.
import { fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { quantile, temporaryDirectory } from "../test/temporary.ts";

/** The machine in a line each, without its name. */
export async function describeMachine(): Promise<Record<string, string>> {
  const [cpu] = cpus();
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "sync");
  const fd = openSync(path, "w");
  const page = new Uint8Array(4096);
  const times = Array.from({ length: 200 }, () => {
    const begun = performance.now();
    writeSync(fd, page);
    fdatasyncSync(fd);
    return performance.now() - begun;
  });
  rmSync(path);
  return {
    processor: `${cpus().length} × ${cpu?.model ?? "unknown"}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${process.platform} ${release()}, Node ${process.versions.node}`,
    disk: `write + fdatasync of 4 KiB: p50 ${quantile(times, 0.5).toFixed(2)} ms, p99 ${quantile(times, 0.99).toFixed(2)} ms`,
  };
}

/** The median. */
export function median(numbers: readonly number[]): number {
  return quantile(numbers, 0.5);
}

/** Runs `measure` so often and gives the median of each of its figures, rounded. */
export async function medians(
  runs: number,
  measure: (run: number) => Promise<Record<string, number>>,
): Promise<Record<string, number>> {
  const all: Record<string, number>[] = [];
  for (let run = 0; run < runs; run += 1) {
    all.push(await measure(run));
  }
  const [first] = all;
  return Object.fromEntries(
    Object.keys(first ?? {}).map((key) => [
      key,
      round(median(all.map((figures) => figures[key] ?? Number.NaN))),
    ]),
  );
}

/** Four significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}
