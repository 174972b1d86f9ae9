import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { DatabaseName } from "@pageferry/format";
import { gather } from "./body.ts";
import { bucketStage } from "./bucket-stage.ts";
import { memoryStore } from "./stores/memory.ts";

const database = "orders" as DatabaseName;
const bytes = Buffer.from("a body that an agent staged");
const digest = createHash("sha256").update(bytes).digest("hex");

test("a staged body is found under its database and digest, and read whole or in part", async () => {
  const store = memoryStore();
  await store.put(`stage/orders/${digest}`, bytes);
  const stage = bucketStage(store);
  assert.equal(await stage.touch(digest, database), bytes.length);
  const body = await stage.body(digest, database);
  assert.deepEqual(Buffer.from(await gather(body.open(), 100, "body")), bytes);
  assert.equal(Buffer.from(await body.read(2, 4)).toString(), "body");
  assert.equal(body.sha256, digest);
});

test("a body that is gone, or is another database's, is not found", async () => {
  const store = memoryStore();
  await store.put(`stage/orders/${digest}`, bytes);
  const stage = bucketStage(store);
  await assert.rejects(stage.body("0".repeat(64), database), { code: "not-found" });
  await assert.rejects(stage.touch(digest, "others" as DatabaseName), { code: "not-found" });
});

test("a digest that is none becomes no name", async () => {
  await assert.rejects(async () => bucketStage(memoryStore()).touch("../orders", database), {
    code: "bad-request",
  });
});
