import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { parseScopes } from "./scopes.ts";
import { createToken, createTokenBook, listTokens, revokeToken } from "./token-files.ts";
import type { NewToken } from "./tokens.ts";

const agent: NewToken = { scopes: ["ingest", "needs"], databases: ["app"] };

async function dataDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-tokens-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

const fileOf = (dataDir: string, id: string) => join(dataDir, "tokens", `${id}.json`);

/** A host's view, whose clock the test moves. */
function bookOf(dataDir: string) {
  let nowMs = 0;
  const told: (readonly string[])[] = [];
  const book = createTokenBook({
    dataDir,
    clock: () => nowMs,
    onTroubles: (troubles) => told.push(troubles),
  });
  return { ...book, told, later: (ms: number) => (nowMs += ms) };
}

suite("the files of tokens", () => {
  test("hold no secret and are their owner's", async (t) => {
    const dataDir = await dataDirectory(t);

    const { token, record } = await createToken(dataDir, { ...agent, note: "web" }, 1000);

    const path = fileOf(dataDir, record.id);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await stat(join(dataDir, "tokens"))).mode & 0o777, 0o700);
    assert.ok(!(await readFile(path, "utf8")).includes(token.slice(16)));
  });

  test("made by many at a time are all there, oldest first in the list", async (t) => {
    const dataDir = await dataDirectory(t);

    await Promise.all([3, 1, 2].map((atMs) => createToken(dataDir, agent, atMs)));

    const { records, troubles } = await listTokens(dataDir);
    assert.deepEqual(
      records.map(({ createdAtMs }) => createdAtMs),
      [1, 2, 3],
    );
    assert.deepEqual(troubles, []);
  });

  test("are not made in a directory that is not there", async (t) => {
    const dataDir = join(await dataDirectory(t), "typo");

    await assert.rejects(createToken(dataDir, agent, 0), { code: "not-found" });
    await assert.rejects(listTokens(dataDir), { code: "not-found" });
  });

  test("are removed by id, also where the whole token is given, and twice is not-found", async (t) => {
    const dataDir = await dataDirectory(t);
    const one = await createToken(dataDir, agent, 0);
    const two = await createToken(dataDir, agent, 0);

    assert.equal(await revokeToken(dataDir, one.record.id), one.record.id);
    assert.equal(await revokeToken(dataDir, two.token), two.record.id);

    assert.deepEqual(await readdir(join(dataDir, "tokens")), []);
    await assert.rejects(revokeToken(dataDir, one.record.id), { code: "not-found" });
    for (const id of ["../token", "", "*", `${one.record.id}0`])
      await assert.rejects(revokeToken(dataDir, id), { code: "bad-request" });
  });
});

suite("a host that reads tokens", () => {
  test("takes a new one, and refuses a revoked one a second later", async (t) => {
    const dataDir = await dataDirectory(t);
    const book = bookOf(dataDir);
    await book.look();
    const { record } = await createToken(dataDir, agent, 0);

    book.later(999);
    assert.equal(await book.find(record.id), undefined, "it looks once a second");
    assert.deepEqual(await book.find(record.id, 100), record, "or when it is asked to");
    book.later(1000);
    assert.deepEqual(await book.find(record.id), record);
    await revokeToken(dataDir, record.id);
    book.later(1000);
    assert.equal(await book.find(record.id), undefined);
  });

  test("keeps the last that it could read of a broken file, says so once, and takes what is mended", async (t) => {
    const dataDir = await dataDirectory(t);
    const { record } = await createToken(dataDir, agent, 0);
    const other = await createToken(dataDir, agent, 0);
    const path = fileOf(dataDir, record.id);
    const book = bookOf(dataDir);
    await book.look();

    await writeFile(path, `{"sha256":"${record.sha256}`);
    for (let seconds = 0; seconds < 3; seconds += 1) {
      book.later(1000);
      assert.deepEqual(await book.find(record.id), record);
    }
    const narrower = { ...record, scopes: ["needs"] as const };
    await writeFile(`${path}.new`, JSON.stringify(narrower));
    await rename(`${path}.new`, path);
    book.later(1000);

    assert.deepEqual(await book.find(record.id), narrower);
    assert.deepEqual(await book.find(other.record.id), other.record);
    assert.equal(book.told.length, 2, "the trouble, and its end");
    assert.match(book.told[0]?.join() ?? "", new RegExp(`${record.id}\\.json: it is no record`));
    assert.ok(!book.told.join().includes(record.sha256.slice(0, 8)));
    assert.deepEqual(book.told[1], []);
  });

  for (const [what, change] of [
    ["a scope that nobody knows", { scopes: ["everything"] }],
    ["no scope", { scopes: [] }],
    ["no database", { databases: [] }],
    ["the id of another", { id: "0".repeat(12) }],
    ["a key of a later version", { notBeforeMs: 5 }],
  ] as const) {
    test(`takes no record with ${what}`, async (t) => {
      const dataDir = await dataDirectory(t);
      const { record } = await createToken(dataDir, agent, 0);
      await writeFile(fileOf(dataDir, record.id), JSON.stringify({ ...record, ...change }));
      const book = bookOf(dataDir);

      assert.equal(await book.find(record.id), undefined);
      assert.equal(book.told.length, 1);
    });
  }

  test("keeps all it knows while the directory cannot be listed", async (t) => {
    const dataDir = await dataDirectory(t);
    const { record } = await createToken(dataDir, agent, 0);
    const book = bookOf(dataDir);
    await book.look();

    await rename(join(dataDir, "tokens"), join(dataDir, "aside"));
    await writeFile(join(dataDir, "tokens"), "");
    book.later(1000);

    assert.deepEqual(await book.find(record.id), record);
    assert.match(book.told.at(-1)?.join() ?? "", /listing .*tokens/);
  });
});

suite("scopes as they are typed", () => {
  test("are words, or short words for several, in one order", () => {
    assert.deepEqual(parseScopes("agent"), ["ingest", "needs"]);
    assert.deepEqual(parseScopes("restore,read,restore"), ["read", "restore"]);
    assert.deepEqual(parseScopes("admin"), ["ingest", "needs", "read", "restore", "inspect", "operate"]);
  });

  test("are refused where they are none", () => {
    for (const text of ["", "all", "read,", "constructor", "Read"])
      assert.throws(() => parseScopes(text), { code: "bad-request" });
  });
});
