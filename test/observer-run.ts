// An application that tells its commits from sixteen places at once, shuffled, late and twice; and restores of what came of it, judged
// by bbolt, by our check, and value by value.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createController } from "@pageferry/agent";
import { checkDatabase, newestMeta, treePages } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { localHost } from "@pageferry/functions";
import { createPageStore, keyOf, type PageStore, storedValue } from "../packages/agent/testing/page-store.ts";
import { type Checker, openChecker } from "./go-apps.ts";
import { openReplica } from "./restores.ts";
import { chance, temporaryDirectory, until } from "./temporary.ts";

/** What to do. */
export interface ObserverScenario {
  readonly flushes: number;
  readonly producers: number;
  /** Points to restore, beside the newest one. */
  readonly restores: number;
  readonly hasFreelist?: boolean;
  readonly granularity?: "interval" | "transaction";
  readonly seed?: number;
}

/** What came of it. */
export interface ObserverReport {
  readonly seed: number;
  readonly flushes: number;
  readonly told: number;
  /** Of those that were told, how many came after a later one. */
  readonly outOfOrder: number;
  readonly seconds: number;
  readonly drainedMs: number;
  /** The longest call of `onPageFlush`, and what the middle and the hundredth one took, in microseconds. */
  readonly callUs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly generations: readonly string[];
  readonly points: number;
  readonly restored: number;
  readonly bad: readonly string[];
  readonly observer: unknown;
  readonly alarms: readonly string[];
  readonly lagMs: number;
}

/** Runs it. */
export async function runObserver(scenario: ObserverScenario): Promise<ObserverReport> {
  const { seed = Date.now() % 2 ** 31, granularity = "interval" } = scenario;
  await using directory = await temporaryDirectory();
  const path = directory.file("app.db");
  const store = createPageStore({
    ...{ path, seed, leaves: 30, pageSize: 1024 },
    hasFreelist: scenario.hasFreelist ?? true,
  });
  const replica = directory.file("replica");
  const databases = [{ name: "app", path }];
  const replicas = [{ type: "file", path: replica }] as const;
  await using host = await localHost(
    { dataDir: directory.file("host"), databases, replicas },
    { http: false },
  );
  const config = { databases, shadowDir: directory.file("shadow"), syncIntervalMs: 100, granularity };
  await using controller = createController(store, { config, queue: host.queue });
  const alarms = new Set<string>();
  controller.on("alarm", ({ alarm }) => alarms.add(`${alarm.code}: ${alarm.message}`));
  await controller.start();
  const startedMs = performance.now();
  const told = await produce(store, (info) => controller.onPageFlush(info), { ...scenario, seed });
  const producedMs = performance.now();
  const newest = BigInt(store.newest());
  await until("all of it at the host", () => controller.status()?.acknowledgedTxId === newest);
  const drainedMs = performance.now() - producedMs;
  await until("all of it in the replica", async () => {
    const opened = await openReplica(join(replica, "app"));
    const points = await opened.points();
    return points.some(({ txid }) => BigInt(`0x${txid}`) === newest);
  });
  const lagMs = controller.dataLossWindow();
  const observer = controller.status()?.observer;
  await controller.close();
  await using checker = openChecker();
  const judged = await judgeRestores(store, checker, join(replica, "app"), {
    ...scenario,
    seed,
    directory: directory.path,
  });
  return {
    ...{ seed, flushes: scenario.flushes, ...told, seconds: (producedMs - startedMs) / 1000 },
    ...{ drainedMs, ...judged, observer, alarms: [...alarms], lagMs },
  };
}

type Tell = (info: ReturnType<PageStore["commit"]>) => void;

/** Sixteen places take turns to commit; each holds what it committed for a while before it tells. */
async function produce(
  store: PageStore,
  tell: Tell,
  { flushes, producers, seed }: ObserverScenario & { readonly seed: number },
) {
  const random = chance(seed);
  const calls = { told: 0, outOfOrder: 0, newest: 0n };
  const tookUs: number[] = [];
  let left = flushes;
  const once = (info: ReturnType<PageStore["commit"]>): void => {
    const id = BigInt(info.txId);
    if (id < calls.newest) calls.outOfOrder += 1;
    else calls.newest = id;
    calls.told += 1;
    const startedMs = performance.now();
    tell(info);
    tookUs.push((performance.now() - startedMs) * 1000);
  };
  await Promise.all(
    Array.from({ length: producers }, async () => {
      while (left > 0) {
        // Up to three of its own, told in any order.
        const mine = Array.from({ length: Math.min(left, 1 + random.below(3)) }, () => store.commit());
        left -= mine.length;
        await sleep(random.next() < 0.001 ? 100 : random.below(3));
        for (const info of random.sample(mine, mine.length)) {
          once(info);
          if (random.next() < 0.02) once(info);
        }
      }
    }),
  );
  tookUs.sort((a, b) => a - b);
  const at = (share: number): number => Math.round(tookUs[Math.floor(tookUs.length * share)] ?? 0);
  const max = Math.round(tookUs.at(-1) ?? 0);
  return { told: calls.told, outOfOrder: calls.outOfOrder, callUs: { p50: at(0.5), p99: at(0.99), max } };
}

async function judgeRestores(
  store: PageStore,
  checker: Checker,
  root: string,
  { restores, seed, directory }: ObserverScenario & { readonly seed: number; readonly directory: string },
) {
  const replica = await openReplica(root);
  const points = await replica.points();
  const generations = [...new Set(points.map(({ generation }) => generation))];
  const chosen = [undefined, ...chance(seed).sample(points, restores)];
  const bad: string[] = [];
  for (const [index, point] of chosen.entries()) {
    const out = join(directory, `restored-${index}.db`);
    const { txId } = await replica.restore(out, point);
    if (point === undefined && Number(txId) !== store.newest()) bad.push(`the newest point is ${txId}`);
    const { ok, errors } = await checker.check(out);
    if (!ok) bad.push(`${txId}: bbolt: ${errors.join("; ")}`);
    bad.push(...differences(store, out, Number(txId)).map((what) => `${txId}: ${what}`));
  }
  return { generations, points: points.length, restored: chosen.length, bad };
}

/** What is not as the store committed it. */
function differences(store: PageStore, path: string, id: number): string[] {
  using source = openPageSource(path);
  const problems = [...checkDatabase(source, { mode: "full" }).problems];
  const meta = newestMeta(source.read(0, 1).slice(), source.read(1, 1).slice());
  if (meta === undefined || Number(meta.txId) !== id) return [...problems, `it is at ${meta?.txId}`];
  const found = new Map<string, string>();
  for (const { run, header } of treePages(source, meta)) {
    if (header.flags === 2) for (const [key, value] of leafValues(run, header.count)) found.set(key, value);
  }
  const writers = store.writersAt(id);
  const expected = writers.flatMap((writer, slot) =>
    writer === 0 ? [] : [[keyOf(slot), hex(storedValue(slot, writer))] as const],
  );
  for (const [key, value] of expected) if (found.get(key) !== value) problems.push(`${key} is another value`);
  if (found.size !== expected.length) problems.push(`${found.size} keys, ${expected.length} were committed`);
  return problems;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Keys and values of a leaf, without buckets. */
function* leafValues(run: Uint8Array, count: number): Generator<[string, string]> {
  const page = Buffer.from(run);
  for (let element = 16; element < 16 + count * 16; element += 16) {
    if (page.readUInt32LE(element) !== 0) continue;
    const at = element + page.readUInt32LE(element + 4);
    const middle = at + page.readUInt32LE(element + 8);
    yield [
      page.toString("utf8", at, middle),
      page.toString("hex", middle, middle + page.readUInt32LE(element + 12)),
    ];
  }
}
