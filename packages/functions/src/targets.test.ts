import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeEnvelope, PageferryError } from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import { createAlarms } from "./alarms.ts";
import { replicaSetOf } from "./replicas.ts";
import type { Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";
import { createTarget } from "./targets.ts";

const history = historyOf("a1");
const message = {
  id: 1,
  envelope: decodeEnvelope(history.envelope([history.segment(1, 2)])),
  receivedAtMs: 1,
};

function open(probes: boolean) {
  const clock = { ms: 0 };
  const world = { isAway: true };
  const inner = memoryStore();
  const store: Store = {
    ...inner,
    list: (prefix, call) => {
      if (world.isAway) throw new PageferryError("unavailable", "nobody answers");
      return inner.list(prefix, call);
    },
  };
  const target = createTarget(replicaSetOf(store), {
    ...{ stagedBody: () => Promise.reject(new Error("nothing is staged")), probes },
    ...{ alarms: createAlarms({ now: () => 0 }), now: () => clock.ms, random: () => 0 },
  });
  const deliver = () => target.deliver([message], new AbortController().signal);
  return { clock, world, target, deliver };
}

test("a replica that failed is left alone, and asked again once that is over, where its lanes are another's", async () => {
  const { clock, world, target, deliver } = open(true);
  assert.equal((await deliver()).get(1)?.kind, "retry");
  assert.equal(target.isReady(), false);
  await assert.rejects(deliver(), { code: "unavailable" });

  clock.ms += 60_000;
  world.isAway = false;
  assert.equal(target.isReady(), true);
  assert.equal((await deliver()).get(1)?.kind, "done");
  assert.equal(target.health().state, "closed");
});

test("where its lanes are worked here they find out, with one message", async () => {
  const { clock, target, deliver } = open(false);
  await deliver();
  clock.ms += 60_000;
  assert.equal(target.isReady(), false);
});
