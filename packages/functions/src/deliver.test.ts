import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import { decodeEnvelope, encodeCompanions, PageferryError, txId } from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import { type DeliverOptions, deliver, type ForkFound, type Message } from "./deliver.ts";
import { createReplica, type Replica } from "./replica.ts";
import type { LargeBody } from "./replica-put.ts";
import { memoryStore } from "./stores/memory.ts";

const history = historyOf("a1");
const other = historyOf("a1", "other");

const messageOf = (id: number, { segment, envelope } = history): Message => ({
  id,
  envelope: decodeEnvelope(envelope([segment(id, id + 1)])),
  receivedAtMs: 1000,
});

function open(replicaOf?: () => Promise<Replica>) {
  const store = memoryStore();
  const replica = createReplica(store, { root: "app" });
  const forks: ForkFound[] = [];
  const options: DeliverOptions = {
    replicaOf: replicaOf ?? (async () => replica),
    stagedBody: () => Promise.reject(new Error("nothing is staged")),
    pack: false,
    onFork: (fork) => void forks.push(fork),
  };
  const give = (messages: readonly Message[], stagedBody = options.stagedBody) =>
    deliver(messages, { ...options, stagedBody });
  return { store, forks, give };
}

suite("a message that a replica takes only into its quarantine", () => {
  test("is done there, and not stored", async () => {
    const { give, forks } = open();
    assert.deepEqual([...(await give([messageOf(4)]))], [[4, { kind: "done" }]]);

    const outcomes = await give([messageOf(4, other), messageOf(7)]);

    assert.equal(forks.length, 1);
    assert.deepEqual(outcomes.get(4), { kind: "done", isStored: false });
    assert.deepEqual(outcomes.get(7), { kind: "done" });
  });

  test("is not stored either where the object of its name is damaged", async () => {
    const { give, forks, store } = open();
    const { name } = history.segment(4, 5);
    await store.put(`app/${name}`, Buffer.from("damaged"));

    const outcomes = await give([messageOf(4)]);

    assert.equal(forks[0]?.isUnreadable, true);
    assert.deepEqual(outcomes.get(4), { kind: "done", isStored: false });
  });
});

test("a staged body with another digest than its envelope says is the message's fault, and is not stored", async () => {
  const { give, store } = open();
  const { name, bytes } = history.segment(4, 5);
  const digest = "0".repeat(64);
  const envelope = decodeEnvelope(history.envelope([{ name, digest, size: bytes.length }]));
  const body: LargeBody = {
    ...{ size: bytes.length, sha256: digest },
    async *open() {
      yield bytes;
    },
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };

  const outcomes = await give([{ id: 1, envelope, receivedAtMs: 1000 }], async () => body);

  assert.equal(outcomes.get(1)?.kind, "dead");
  await assert.rejects(store.get(`app/${name}`), { code: "not-found" });
});

suite("a replica that cannot be opened for a database", () => {
  const kinds = async (code: "conflict" | "unavailable") => {
    const { give } = open(() => Promise.reject(new PageferryError(code, "what happened")));
    return [...(await give([messageOf(4), messageOf(5)]))].map(([id, { kind }]) => [id, kind]);
  };

  test("because it is another's archive is not at fault: its messages are", async () => {
    assert.deepEqual(await kinds("conflict"), [
      [4, "dead"],
      [5, "dead"],
    ]);
  });

  test("because it does not answer may take them later", async () => {
    assert.deepEqual(await kinds("unavailable"), [
      [4, "retry"],
      [5, "retry"],
    ]);
  });
});

test("staged companion files are read one at a time, and no segment waits for them", async () => {
  const steps: string[] = [];
  const plain = memoryStore();
  const store = {
    ...plain,
    async put(...given: Parameters<typeof plain.put>) {
      steps.push(`put ${given[0].replace(/.*\//, "").replace(/^.*-.*\.(?=files|segment)/, "")}`);
      return plain.put(...given);
    },
  };
  const replica = createReplica(store, { root: "app" });
  const { give } = open(async () => replica);
  const generation = history.generation;
  const versions = await Promise.all(
    [1000, 2000].map((stampMs) =>
      encodeCompanions(
        { generation, txId: txId(4), stampMs, files: [], skipped: [] },
        { codec: "none", level: 0, window: 0 },
      ),
    ),
  );
  const bodies = new Map(versions.map(({ bytes }) => [sha256(bytes), bytes]));
  const staged = versions.map(({ name, bytes }) => ({ name, digest: sha256(bytes), size: bytes.length }));
  const envelope = decodeEnvelope(history.envelope([...staged, history.segment(4, 5)]));

  const outcomes = await give([{ id: 1, envelope, receivedAtMs: 1000 }], async (digest) => {
    const bytes = bodies.get(digest) ?? new Uint8Array();
    steps.push("open");
    return {
      ...{ size: bytes.length, sha256: digest },
      async *open() {
        yield bytes;
      },
      read: async (offset, length) => bytes.subarray(offset, offset + length),
    };
  });

  assert.equal(outcomes.get(1)?.kind, "done");
  assert.deepEqual(steps, [
    ...["put generation.json", "put segment.cbor"],
    ...["open", "put files.cbor", "open", "put files.cbor"],
  ]);
});

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
