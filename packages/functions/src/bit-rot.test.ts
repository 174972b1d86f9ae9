// Bit rot: any one object is damaged or gone. A verification names it, a repair heals it from another replica, and where there is none the
// report says exactly what remains. PAGEFERRY_BIT_ROT sets how often; the long form is 1,000.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, suite, test } from "node:test";
import { encodePack, indexArchive, type ListedObject, packName, points } from "@pageferry/format";
import { type BoltState, boltArchive, boltStates, type Held } from "../testing/bolt-history.ts";
import { repairDatabase } from "./repair.ts";
import { fileReplica } from "./replicas.ts";
import { verifyDatabase } from "./verify.ts";
import type { ReplicaVerdict } from "./verify-report.ts";

const times = Number(process.env.PAGEFERRY_BIT_ROT ?? 60);
const epochMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const nowMs = epochMs + 3_600_000;
const archive = boltArchive("a1");

let directory: string;
let objects: readonly Held[];
/** Segments that a merged range passes over: one that is gone counts as removed on purpose, as a compaction does. */
let mergedOver: readonly string[];

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "bit-rot-"));
  const states = await boltStates(14, epochMs);
  const at = (index: number): BoltState => states[index] as BoltState;
  const segment = (from: number, to: number): Held => archive.segment(at(from), at(to));
  const range = {
    generation: archive.generation,
    parentTxId: at(9).txId,
    txId: at(11).txId,
    stampMs: at(11).stampMs,
  };
  const pack = { name: packName(range), bytes: encodePack([segment(9, 10), segment(10, 11)]) };
  // Single segments, a merged range beside some of them, a pack, and a snapshot in the middle.
  const singles = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12].map((from) => segment(from, from + 1));
  objects = [
    archive.begin,
    archive.snapshot(at(0)),
    ...singles,
    segment(2, 6),
    pack,
    archive.snapshot(at(7)),
  ];
  mergedOver = singles.slice(2, 5).map(({ name }) => name);
  for (const { name, bytes } of objects) {
    await mkdir(dirname(join(directory, "whole", name)), { recursive: true });
    await writeFile(join(directory, "whole", name), bytes);
  }
});
after(() => rm(directory, { recursive: true }));

/** What names alone tell without an object: the model. */
function pointsWithout(gone?: Held): number {
  const left = objects.filter((one) => one !== gone);
  const pack = left.find(({ name }) => name.endsWith(".pack.cbor"));
  const listed: ListedObject[] = left.map(({ name, bytes }) => ({ name, size: bytes.length }));
  const inside = points(indexArchive(listed)).length;
  // The pack's first segment is a point inside of it.
  const isReached = pack !== undefined && points(indexArchive(listed)).some(({ name }) => name === pack.name);
  return inside + (isReached ? 1 : 0);
}

async function fresh(name: string): Promise<string> {
  const path = join(directory, name);
  await rm(path, { recursive: true, force: true });
  await cp(join(directory, "whole"), path, { recursive: true });
  return path;
}

async function verify(...paths: readonly string[]): Promise<ReplicaVerdict> {
  const { replicas } = await verifyDatabase({
    ...{
      database: "app",
      replicas: paths.map((path) => fileReplica({ path })),
      depth: "full",
      now: () => nowMs,
    },
    scratchDir: join(directory, "scratch"),
  });
  for (const other of replicas.slice(1)) assert.equal(other.verdict, "FOUND", JSON.stringify(other.problems));
  return replicas[0] as ReplicaVerdict;
}

/** Turns a bit; of a generation.json, which has no checksum of its own, half is lost. */
function damagedBytes({ name, bytes }: Held): Uint8Array {
  if (name.endsWith(".json")) return bytes.subarray(0, bytes.length >> 1);
  const changed = new Uint8Array(bytes);
  const at = randomInt(bytes.length);
  changed[at] = (changed[at] ?? 0) ^ (1 << randomInt(8));
  return changed;
}

suite("an object that is damaged or gone", () => {
  test(`is named, healed from another replica, or leaves exactly the points that need it not: ${times} times`, async (context) => {
    const whole = pointsWithout();
    let harmless = 0;
    let lost = 0;
    for (let round = 0; round < times; round += 1) {
      const victim = objects[randomInt(objects.length)] as Held;
      const isDeleted = randomInt(2) === 0;
      const [one, two] = [await fresh("one"), await fresh("two")];
      const path = join(one, victim.name);
      if (isDeleted) await rm(path);
      else await writeFile(path, damagedBytes(victim));
      const what = `${isDeleted ? "deleted" : "damaged"} ${victim.name}`;
      const isBegin = victim === archive.begin;
      const isMerged = mergedOver.includes(victim.name);
      const remaining = victim.name.endsWith(".json") ? whole : pointsWithout(victim);

      const alone = await verify(one);
      const beside = await verify(one, two);

      const names = (row: ReplicaVerdict): boolean =>
        row.problems.some(({ object }) => object === victim.name);
      if (isDeleted) {
        assert.equal(alone.restorable, remaining, what);
        // What other objects make up for is no loss: the comparison is of points, not of names.
        const isMissed = isBegin || (remaining < whole && !isMerged);
        assert.equal(names(beside), isMissed, `${what}: ${JSON.stringify(beside.problems)}`);
      } else if (beside.verdict === "FOUND") {
        // A time in a snapshot's header, or its like: both replicas gave the same states.
        harmless += 1;
        assert.deepEqual([alone.verdict, alone.restorable], ["FOUND", whole], what);
      } else {
        assert.ok(names(alone) && names(beside), `${what}: ${JSON.stringify(beside.problems)}`);
        assert.deepEqual([alone.restorable, alone.lost], [remaining, whole - remaining], what);
      }
      if (remaining < whole) lost += 1;

      const replicas = [one, two].map((root) => fileReplica({ path: root }));
      const { isWhole } = await repairDatabase({ database: "app", replicas, verify: true, now: () => nowMs });
      const healed = await verify(one, two);
      const again = isDeleted && isMerged ? remaining : whole;
      const why = `${what}, after the repair: ${JSON.stringify(healed.problems)}`;
      assert.deepEqual([isWhole, healed.verdict, healed.restorable], [true, "FOUND", again], why);
    }
    context.diagnostic(`${times} rounds: ${lost} cost points, ${harmless} were harmless`);
    assert.deepEqual(await readdir(join(directory, "scratch")), []);
    assert.ok(harmless <= times / 10 + 3, `${harmless} of ${times} damages were not seen`);
    assert.equal(
      (await readFile(join(directory, "whole", archive.begin.name))).length,
      archive.begin.bytes.length,
    );
  });
});
