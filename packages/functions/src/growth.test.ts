import assert from "node:assert/strict";
import { test } from "node:test";
import { addSample, detectJump, type GrowthSample } from "./growth.ts";

const hourMs = 3_600_000;
const snapshotBytes = 1000;

/** A sample an hour: generations and bytes by the hour. */
const samplesOf = (hours: number, of: (hour: number) => Partial<GrowthSample>): GrowthSample[] => {
  let samples: GrowthSample[] = [];
  for (let hour = 0; hour <= hours; hour += 1) {
    const sample = { atMs: (1 + hour) * hourMs, generations: 1, bytes: 0, snapshotBytes, ...of(hour) };
    samples = addSample(samples, sample);
  }
  return samples;
};

test("what grows as it always did is no jump, however much that is", () => {
  assert.equal(detectJump([]), undefined);
  assert.equal(detectJump(samplesOf(100, (hour) => ({ bytes: hour * 10_000 }))), undefined);
  assert.equal(detectJump(samplesOf(100, (hour) => ({ generations: 1 + Math.floor(hour / 24) }))), undefined);
});

test("more than three generations within an hour are one", () => {
  const begun = (count: number) => samplesOf(50, (hour) => ({ generations: hour === 50 ? 1 + count : 1 }));
  assert.equal(detectJump(begun(3)), undefined);
  assert.equal(detectJump(begun(4))?.kind, "generations");
});

test("ten times the usual growth of a day is one, where it is also more than four times the database", () => {
  const flood = (usualPerHour: number, bytes: number) =>
    samplesOf(100, (hour) => ({ bytes: hour * usualPerHour + (hour > 90 ? bytes : 0) }));
  assert.equal(detectJump(flood(1, 3000)), undefined);
  assert.equal(detectJump(flood(1, 5000))?.kind, "volume");
  assert.equal(detectJump(flood(100, 10_000)), undefined);
  assert.equal(detectJump(flood(100, 30_000))?.kind, "volume");
});

test("samples are kept for eight days, and none from a time to come", () => {
  const samples = samplesOf(500, () => ({}));
  assert.equal(samples.length, 8 * 24);
  const early = { atMs: 400 * hourMs, generations: 1, bytes: 0, snapshotBytes };
  assert.ok(addSample(samples, early).every(({ atMs }) => atMs <= early.atMs));
});
