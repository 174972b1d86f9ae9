import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { PageferryError, parseDatabaseName } from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import { fileReplica, openReplicaSet, replicaSetOf } from "./replicas.ts";
import { memoryStore } from "./stores/memory.ts";

const golden = new URL("../../../test/golden/replica/data", import.meta.url).pathname;
const app = parseDatabaseName("app");
const other = parseDatabaseName("other");
const history = historyOf("a1");

async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-replicas-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

suite("a configured replica", () => {
  test("holds a directory for each database", async () => {
    const store = memoryStore();
    const set = replicaSetOf(store);

    for (const name of [app, other]) await (await set.of(name)).begin(history.begin, 1);

    const names = (await Array.fromAsync(store.list(""))).map((object) => object.name);
    assert.deepEqual(
      names,
      ["app", "other"].map((name) => `${name}/${history.generation}/generation.json`),
    );
    assert.deepEqual(await replicaSetOf(store).discover(), ["app", "other"]);
    assert.equal(await set.of(app), await set.of(app));
  });

  test("is looked at once to see what it is, however many databases are opened, and again where that failed", async () => {
    const memory = memoryStore();
    let lists = 0;
    let isAway = true;
    const set = replicaSetOf({
      ...memory,
      list(prefix, options) {
        lists += 1;
        if (isAway) throw new PageferryError("unavailable", "it is away");
        return memory.list(prefix, options);
      },
    });
    const names = Array.from({ length: 100 }, (_, at) => parseDatabaseName(`db-${at}`));

    await assert.rejects(set.of(app), { code: "unavailable" });
    isAway = false;
    lists = 0;
    await Promise.all(names.map((name) => set.of(name)));

    assert.equal(set.opened().size, 100);
    assert.ok(lists <= 2, `${lists} listings`);
  });

  test("is itself the archive where no databases are listed, and then of one database only", async () => {
    const store = memoryStore();
    const set = replicaSetOf(store, { hasDatabases: false });

    await (await set.of(app)).begin(history.begin, 1);

    assert.equal((await Array.fromAsync(store.list("")))[0]?.name, `${history.generation}/generation.json`);
    await assert.rejects(set.of(other), { code: "conflict" });
    assert.deepEqual(await set.discover(), []);
  });

  test("is itself the archive where one of the Go implementation lies in it, and remembers whose", async (t) => {
    const directory = await temporaryDirectory(t);
    await cp(golden, directory, { recursive: true });
    const notes: { name?: string } = {};
    const owner = {
      get: () => notes.name,
      set(name: string) {
        notes.name = name;
      },
    };

    await using set = await openReplicaSet(`file://${directory}`, { owner });
    const state = await (await set.of(app)).latestState();
    await using again = await openReplicaSet(`file://${directory}`, { owner });

    assert.ok((state?.segments.length ?? 0) > 10);
    await assert.rejects(again.of(other), { code: "conflict" });
    assert.equal((await again.of(app)).name, `file://${directory}`);
  });
});

test("the newest state of a Go archive is found by its listing, and its objects can be fetched", async () => {
  await using replica = fileReplica({ path: golden });

  const state = await replica.latestState();

  const last = state?.segments.at(-1);
  assert.equal((await replica.fetchSegment({ name: last?.name ?? "" })).header.txId, last?.lastTxId);
  const { raw, header } = await replica.fetchSnapshot({ name: state?.snapshot?.name ?? "" });
  const size = (await Array.fromAsync(raw)).reduce((sum, chunk) => sum + chunk.length, 0);
  assert.equal(size, Number((await header).pageCount) * (await header).pageSize);
});
