import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { unknownReplica } from "../../testing/unknown-status.ts";
import type { ReplicaStatus } from "../status-replica.ts";
import { storageSection } from "./storage-section.ts";

/** Words of the section, without markup. */
function said(more: Partial<ReplicaStatus>): string {
  return storageSection([{ ...unknownReplica, ...more }])
    .toString()
    .replace(/<[^>]*>/g, "|")
    .replace(/\|+/g, "|");
}

const storage = { objects: 1234, bytes: 3 * 2 ** 20, kinds: {}, amplification: 1.26 };

suite("what a database takes", () => {
  test("is bytes, objects, and how many times the newest snapshot that is", () => {
    assert.match(said({ storage }), /\|3\.0 MiB \|in 1,234 objects, 1\.3 times its newest snapshot\|/);
    assert.match(said({ storage: { ...storage, amplification: 27.4 } }), /, 27 times/);
    assert.match(said({ storage: { ...storage, amplification: null } }), /in 1,234 objects\|/);
  });

  test("in a month is requests, and dollars where the prices are known", () => {
    const inMonth = (requests: number, usd: number | null) => said({ storage, month: { requests, usd } });

    assert.match(inMonth(43_000, null), /\|43,000 requests\|/);
    assert.match(inMonth(43_000, 1234.5), /\|\$1,234\.50 \|for 43,000 requests and the storage\|/);
    assert.match(inMonth(1, 0.0004), /\|less than \$0\.01 \|for 1 request and/);
    assert.match(inMonth(0, 0), /\|\$0\.00 \|/);
  });

  test("for a restore is time, bytes and objects", () => {
    const restore = { ms: 4200, bytes: 2048, objects: 1 };

    assert.match(said({ storage, restore }), /\|about 4\.2 s \|for 2\.0 KiB in 1 object\|/);
  });

  test("is not made up before it is known", () => {
    assert.match(said({ storage }), /\|known after an hour\|/);
    assert.match(said({}), /\|not listed yet\|–\|–\|/);
    assert.equal(storageSection([]).toString(), "");
  });

  test("names replicas as text", () => {
    assert.doesNotMatch(storageSection([{ ...unknownReplica, name: "<img>" }]).toString(), /<img>/);
  });
});
