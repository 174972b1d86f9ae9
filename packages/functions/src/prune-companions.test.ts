import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  type Generation,
  type GenerationLink,
  generationJsonName,
  indexArchive,
  indexCompanions,
  parseGeneration,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import { goPolicy } from "../testing/policy.ts";
import { planCompanions } from "./prune-companions.ts";
import { planPrune } from "./prune-plan.ts";

const hourMs = 3_600_000;
const first = parseGeneration("aaaaaaaaaaaaaaaa");
const second = parseGeneration("bbbbbbbbbbbbbbbb");

const snapshot = (generation: Generation, id: number) =>
  snapshotName({ generation, txId: txId(id), stampMs: id * hourMs });
const segment = (generation: Generation, parent: number, last: number) =>
  segmentName({ generation, parentTxId: txId(parent), txId: txId(last), stampMs: last * hourMs });
const files = (generation: Generation, id: number, hour: number) =>
  `files/${generation}/${id.toString(16).padStart(16, "0")}-${(hour * hourMs).toString(16).padStart(12, "0")}-0123456789abcdef.files.cbor`;

function doomed(
  names: readonly string[],
  {
    retentionHours,
    nowHour,
    links = [],
    problems = [],
    generation,
  }: {
    readonly retentionHours: number;
    readonly nowHour: number;
    readonly links?: readonly (readonly [Generation, GenerationLink])[];
    readonly problems?: readonly (readonly [Generation, string])[];
    readonly generation?: Generation;
  },
): string[] {
  const objects = names.map((name) => ({ name, size: 1 }));
  const listing = indexArchive(objects, { links: new Map(links), linkProblems: new Map(problems) });
  const policy = {
    ...goPolicy(retentionHours * hourMs, 0),
    graceMs: 0,
    ...(generation === undefined ? {} : { generation }),
  };
  const nowMs = nowHour * hourMs;
  const plan = planPrune(listing, policy, nowMs);
  return planCompanions({ index: indexCompanions(objects), listing, plan, policy, nowMs }).map(
    ({ name }) => name,
  );
}

suite("the prune plan for companion files", () => {
  test("keeps what each kept point is restored with, the newest, and what is young", () => {
    const old = [files(first, 2, 2), files(first, 3, 3)];
    const ofOldest = files(first, 8, 8);
    const young = [files(first, 9, 9), files(first, 9, 10), files(first, 12, 12)];
    const names = [snapshot(first, 2), segment(first, 2, 8), snapshot(first, 9), segment(first, 9, 12)];

    const gone = doomed([...names, ...old, ofOldest, ...young], { retentionHours: 3, nowHour: 12 });

    assert.deepEqual(gone, [...old, ofOldest]);
  });

  test("keeps those of a restored file that nobody has written yet, and those of the point it was restored to", () => {
    const begin = { epoch: 2, parent: { generation: first, txId: txId(12) }, parentStateHash: 12n };
    const names = [snapshot(first, 2), segment(first, 2, 12), generationJsonName(second)];
    const own = [files(second, 12, 30), files(second, 12, 31)];

    const gone = doomed([...names, files(first, 12, 12), ...own], {
      ...{ retentionHours: 1, nowHour: 99, links: [[second, begin]] },
    });

    assert.deepEqual(gone, own.slice(0, 1));
  });

  test("keeps the newest of a generation, though its commit is not stored yet", () => {
    const names = [snapshot(first, 2), segment(first, 2, 12)];
    const ahead = [files(first, 20, 13), files(first, 20, 14)];

    const gone = doomed([...names, files(first, 12, 12), ...ahead], { retentionHours: 1, nowHour: 99 });

    assert.deepEqual(gone, ahead.slice(0, 1));
  });

  test("keeps an old version where nothing newer belongs to a kept point", () => {
    const only = files(first, 2, 2);
    const names = [snapshot(first, 2), segment(first, 2, 50), segment(first, 50, 60)];

    assert.deepEqual(doomed([...names, only], { retentionHours: 3, nowHour: 60 }), []);
  });

  test("keeps the version of a generation before as long as the next one has none", () => {
    const link = { parent: { generation: first, txId: txId(5) }, epoch: 2, receivedAtMs: 6 * hourMs };
    const names = [snapshot(second, 6), segment(second, 6, 7)];
    const before = files(first, 5, 5);
    const far = { retentionHours: 1, nowHour: 24 * 400, links: [[second, link]] as const };

    assert.deepEqual(doomed([...names, before], far), []);
    assert.deepEqual(doomed([...names, before, files(second, 6, 6)], far), [before]);
  });

  test("leaves other generations alone where one is asked for", () => {
    const names = [snapshot(first, 2), snapshot(second, 2)];
    const all = [files(first, 2, 1), files(first, 2, 2), files(second, 2, 1), files(second, 2, 2)];

    const gone = doomed([...names, ...all], { retentionHours: 1, nowHour: 90, generation: second });

    assert.deepEqual(gone, [files(second, 2, 1)]);
  });

  test("leaves those of a generation alone of which nobody can read where it came from", () => {
    const names = [snapshot(first, 2), segment(first, 2, 12), segment(first, 12, 20), snapshot(second, 30)];
    const needed = [files(first, 2, 2), files(first, 12, 12)];
    const all = [...names, ...needed, files(first, 19, 19)];
    const problems = [[first, "its generation.json cannot be read"]] as const;

    assert.deepEqual(doomed(all, { retentionHours: 3, nowHour: 40, problems }), []);
  });

  test("never names anything else", () => {
    const names = [snapshot(first, 2), segment(first, 2, 5), "files/x", "leases/a.json", `files/${first}/x`];

    assert.deepEqual(doomed(names, { retentionHours: 1, nowHour: 1000 }), []);
  });
});
