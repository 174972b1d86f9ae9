import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { encodeCompanions, parseGeneration, parseTxId } from "@pageferry/format";
import { runCommand } from "../../testing/commands.ts";

const golden = new URL("../../../../test/golden/replica/data", import.meta.url).pathname;

/** Where nobody can make a file, be it root. */
const unwritable = process.platform === "linux" ? "/proc" : "/System";

/** A replica whose newest point has companion files, and a configuration that names them. */
async function replicaWith(t: TestContext, texts: Readonly<Record<string, string>>) {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-restore-"));
  t.after(() => rm(directory, { recursive: true }));
  const replica = join(directory, "replica/app");
  await cp(golden, replica, { recursive: true });
  const [newest] = JSON.parse((await runCommand(["points", "--json", replica])).out);
  const files = Object.entries(texts).map(([name, text]) => {
    return { name, mode: 0o600, mtimeMs: 0, bytes: new Uint8Array(Buffer.from(text)) };
  });
  const point = { generation: parseGeneration(newest.generation), txId: parseTxId(newest.txid) };
  const version = { ...point, stampMs: Date.parse("2026-01-02T03:04:05Z"), files, skipped: [] };
  const { name, bytes } = await encodeCompanions(version, { codec: "none", level: 0, window: 0 });
  await mkdir(dirname(join(replica, name)), { recursive: true });
  await writeFile(join(replica, name), bytes);
  const path = join(directory, "app.db");
  const config = join(directory, "pageferry.json");
  const database = { path, files: [join(directory, "*.pem"), `${unwritable}/pageferry-key`] };
  await writeFile(config, JSON.stringify({ databases: [database] }));
  const restore = (...more: string[]) =>
    runCommand(["restore", "-o", path, "--config", config, ...more, replica]);
  return { directory, path, restore, object: name, size: bytes.length };
}

suite("pageferry restore --dry-run", () => {
  test("lists the companion files that would come back, with their version and sizes, and writes nothing", async (t) => {
    const { directory, restore, object, size } = await replicaWith(t, {
      ...{ "a.pem": "one", "c.pem": "there", "tls/b.pem": "three" },
    });
    await writeFile(join(directory, "c.pem"), "live");
    const before = await readdir(directory, { recursive: true });
    const elsewhere = join(directory, "files");

    const json = JSON.parse((await restore("--dry-run", "--json", "--files", elsewhere)).out);
    const words = await restore("--dry-run", "--files", elsewhere);
    const inPlace = await restore("--dry-run", "--json", "--files-in-place");
    const unasked = await restore("--dry-run", "--json");
    const refused = await restore("--dry-run", "--json", "--files", directory);

    assert.deepEqual(json.files, {
      ...{ object, time: "2026-01-02T03:04:05.000Z", txid: json.txid, bytes: size },
      wouldWrite: [
        { path: join(elsewhere, "a.pem"), bytes: 3 },
        { path: join(elsewhere, "c.pem"), bytes: 5 },
        { path: join(elsewhere, "tls/b.pem"), bytes: 5 },
      ],
      ...{ left: [], strange: [], skipped: [] },
    });
    assert.match(
      words.out,
      /\n3 companion files, 13 B, as read at 2026-01-02T03:04:05\.000Z:\n {2}\S+a\.pem {2}3 B\n/,
    );
    const placed = JSON.parse(inPlace.out).files;
    assert.deepEqual(placed.wouldWrite, [{ path: join(directory, "a.pem"), bytes: 3 }]);
    assert.deepEqual([placed.left, placed.strange], [[join(directory, "c.pem")], ["tls/b.pem"]]);
    assert.match(inPlace.err, /c\.pem is there and is left as it is/);
    const known = { object, time: "2026-01-02T03:04:05.000Z", txid: json.txid, bytes: size };
    assert.deepEqual(JSON.parse(unasked.out).files, known);
    assert.match(unasked.err, /there are companion files, of .*: --files DIR restores them/);
    assert.deepEqual([refused.code, JSON.parse(refused.out).error.code], [5, "exists"]);
    assert.deepEqual(await readdir(directory, { recursive: true }), before);
  });

  test("says one object of one", async (t) => {
    const { restore } = await replicaWith(t, {});
    const [snapshot] = JSON.parse((await restore("--dry-run", "--json")).out).objects;
    const [txid = ""] = /[0-9a-f]{16}(?=\.snapshot)/.exec(snapshot.name) ?? [];

    const { out } = await restore("--dry-run", "--txid", txid);

    assert.match(out, /\n1 object, /);
  });

  test("says that a file is there which a restore would not replace", async (t) => {
    const { path, restore } = await replicaWith(t, {});
    await writeFile(path, "live");

    const asked = await restore("--dry-run");
    const forced = await restore("--dry-run", "--force");

    assert.match(asked.err, /^warning: \S+app\.db is there: without --force it is not replaced\n/m);
    assert.doesNotMatch(forced.err, /is not replaced/);
  });
});

suite("pageferry restore of companion files", () => {
  test("of which one cannot be written is one document that names all, and a failure", async (t) => {
    const { directory, path, restore } = await replicaWith(t, {
      ...{ "a.pem": "one", [`_root${unwritable}/pageferry-key`]: "two", "z.pem": "three" },
    });

    const { code, out, err } = await restore("--json", "--files-in-place");

    const said = JSON.parse(out);
    assert.notEqual(code, 0);
    assert.deepEqual([said.output, said.check], [path, "full"]);
    assert.deepEqual(said.files.written, [join(directory, "a.pem"), join(directory, "z.pem")]);
    assert.deepEqual(
      said.files.failed.map((one: { readonly path: string }) => one.path),
      [`${unwritable}/pageferry-key`],
    );
    assert.deepEqual(said.error, said.files.failed[0].error);
    assert.match(err, /\nerror: \S+pageferry-key was not written: /);
    assert.equal(await readFile(join(directory, "z.pem"), "utf8"), "three");
  });

  test("that something is in the way of is refused before anything is restored", async (t) => {
    const { directory, restore } = await replicaWith(t, { "a.pem": "one" });
    await mkdir(join(directory, "a.pem"));

    const { code, out } = await restore("--json", "--files-in-place", "--force");

    assert.deepEqual([code, JSON.parse(out).error.code], [5, "exists"]);
    assert.ok(!(await readdir(directory)).includes("app.db"));
  });
});
