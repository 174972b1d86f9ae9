// Bad input: each ends in a coded error with something to do, never in a crash, a hang or a half-written file.
import assert from "node:assert/strict";
import { copyFile, mkdir, open, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { decodeSegment, encodeMetaPage, encodeSegment, parseMeta } from "@pageferry/format";
import { listRanges, newestStored } from "./archive.ts";
import { checkFile, runWriter, startWriter } from "./go-apps.ts";
import { hexTxId, listPoints, pageferry, restore, startUp } from "./pageferry.ts";
import type { ProcessResult } from "./processes.ts";
import { type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

/** Exit codes of docs/errors.md. */
const exits = {
  badRequest: 2,
  notFound: 3,
  corrupt: 4,
  exists: 5,
  unreadable: 6,
  gap: 7,
  locked: 5,
} as const;

/** A coded failure: that exit code, one `error:` line, one `hint:` line, and no stack. */
function assertFails(result: ProcessResult, exitCode: number, says: RegExp): void {
  const said = `${result.code ?? result.signal}: ${result.stdout}${result.stderr}`;
  assert.equal(result.code, exitCode, said);
  assert.match(result.stderr, says, said);
  assert.match(result.stderr, /^error: /m, said);
  assert.match(result.stderr, /^hint: /m, said);
  assert.doesNotMatch(result.stderr, /unexpected|^\s+at /m, said);
}

/** A replica with one segment per transaction, made by the whole pipeline. */
async function makeReplica(directory: TemporaryDirectory, transactions = 12): Promise<string> {
  const path = directory.file("app.db");
  await runWriter({ path, count: 20 });
  await using host = await startUp([path], {
    dataDir: directory.file("data"),
    args: ["--sync-interval", "0s", "--granularity", "transaction"],
  });
  const root = host.replica("app");
  await until("the snapshot", async () => (await newestStored(root)) > 0);
  const { txid } = await runWriter({ path, count: transactions, rate: 10, seed: 2 });
  await until("all of it", async () => (await newestStored(root)) === txid);
  await host.stop();
  return root;
}

suite("check", () => {
  test("says what a file is that is no sound database, and what to do", async () => {
    await using directory = await temporaryDirectory();
    const [path, text, empty, short] = ["app.db", "text", "empty", "short"].map((name) =>
      directory.file(name),
    );
    assert.ok(path && text && empty && short);
    await runWriter({ path, count: 50 });
    const { highWaterMark } = await checkFile(path);
    await writeFile(text, "no database at all\n".repeat(1000));
    await writeFile(empty, "");
    await copyFile(path, short);
    await truncate(short, (highWaterMark - 1) * 4096);

    assertFails(await pageferry(["check", text]), exits.corrupt, /text/);
    assertFails(await pageferry(["check", empty]), exits.corrupt, /empty/);
    assertFails(await pageferry(["check", short]), exits.corrupt, /short/);
    assertFails(await pageferry(["check", directory.path]), exits.corrupt, /not a file/);
    assertFails(await pageferry(["check", directory.file("absent")]), exits.notFound, /absent/);
    assert.equal((await pageferry(["check", path])).code, 0);
  });
});

suite("restore", () => {
  test("refuses a directory that is no replica, and names it", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.file("photos"));
    await writeFile(directory.file("photos", "cat.jpg"), "meow");
    const out = directory.file("out.db");

    assertFails(await restore(directory.file("photos"), out), exits.notFound, /photos/);
    assertFails(await restore(directory.file("absent"), out), exits.notFound, /absent/);
    assertFails(await restore(directory.file("photos", "cat.jpg"), out), exits.notFound, /cat\.jpg/);
    assert.deepEqual(await readdir(directory.path), ["photos"]);
  });

  test("leaves a target alone that exists, that is locked, or that cannot be written", async () => {
    await using directory = await temporaryDirectory();
    const root = await makeReplica(directory, 2);
    const [kept, used] = [directory.file("kept.db"), directory.file("used.db")];
    await writeFile(kept, "precious");
    await using writer = await startWriter({ path: used, rate: 5 });

    const onExisting = await restore(root, kept);
    const onLocked = await restore(root, used, {}, { args: ["--force"] });
    const onDirectory = await restore(root, directory.path, {}, { args: ["--force"] });
    const onNothing = await restore(root, directory.file("no", "such", "directory", "out.db"));

    assertFails(onExisting, exits.exists, /kept\.db/);
    assertFails(onLocked, exits.locked, /used\.db/);
    assert.notEqual(onDirectory.code, 0);
    assert.notEqual(onNothing.code, 0);
    await writer.finish();
    assert.equal((await checkFile(used)).ok, true);
    assert.deepEqual((await readdir(directory.path)).sort(), ["app.db", "data", "kept.db", "used.db"]);
    assert.equal((await restore(root, kept, {}, { args: ["--force"] })).code, 0);
    assert.equal((await checkFile(kept)).ok, true);
  });

  test("names a gap, and restores what lies before it", async () => {
    await using directory = await temporaryDirectory();
    const root = await makeReplica(directory);
    const points = await listPoints(root);
    const ranges = await listRanges(root);
    const lost = ranges[Math.floor(ranges.length / 2)];
    assert.ok(lost !== undefined && ranges.length > 4);
    await rm(`${root}/${lost.generation}/segments/${lost.name}`);
    const [newest, before] = [hexTxId(ranges.at(-1)?.lastTxId ?? 0), hexTxId(lost.firstTxId - 1)];
    assert.ok(points.some(({ txid }) => txid === before));

    const afterGap = await restore(root, directory.file("after.db"), { txid: newest });
    const beforeGap = await restore(root, directory.file("before.db"), { txid: before });

    assertFails(afterGap, exits.gap, new RegExp(hexTxId(lost.firstTxId - 1)));
    assert.equal(beforeGap.code, 0, beforeGap.stderr);
    assert.equal((await checkFile(directory.file("before.db"))).txid, lost.firstTxId - 1);
    assert.ok(!(await readdir(directory.path)).includes("after.db"));
  });

  test("refuses a damaged object, and leaves nothing behind", async () => {
    await using directory = await temporaryDirectory();
    const root = await makeReplica(directory, 4);
    const last = (await listRanges(root)).at(-1);
    assert.ok(last !== undefined);
    const object = `${root}/${last.generation}/segments/${last.name}`;
    await using file = await open(object, "r+");
    const { size } = await file.stat();
    await file.write(Uint8Array.of(0xff, 0x00, 0xff), 0, 3, Math.floor(size / 2));
    const before = await readdir(directory.path);

    const result = await restore(root, directory.file("out.db"), { txid: hexTxId(last.lastTxId) });

    assertFails(result, exits.corrupt, new RegExp(last.name));
    assert.deepEqual(await readdir(directory.path), before);
  });

  test("refuses a segment of another page size, although it is sound by itself", async () => {
    await using directory = await temporaryDirectory();
    const root = await makeReplica(directory, 4);
    // On a busy machine some come as a pack.
    const last = (await listRanges(root)).findLast(({ name }) => name.endsWith(".segment.cbor"));
    assert.ok(last !== undefined);
    const object = `${root}/${last.generation}/segments/${last.name}`;
    const { header, pages } = decodeSegment(new Uint8Array(await readFile(object)));
    const meta = parseMeta(pages[0]?.data ?? new Uint8Array());
    assert.ok(meta !== undefined);
    const slot = header.txId % 2n === 0n ? 0 : 1;
    const wide = encodeMetaPage({ ...meta, pageSize: 8192 }, slot);
    const frame = { id: BigInt(slot), overflow: 0, data: wide };
    await writeFile(object, encodeSegment({ ...header, pageSize: 8192, pages: [frame] }));

    const result = await restore(root, directory.file("out.db"), { txid: hexTxId(last.lastTxId) });

    assertFails(result, exits.corrupt, /page size|8192/);
  });

  test("refuses txids, times and generations that are none", async () => {
    await using directory = await temporaryDirectory();
    const out = directory.file("out.db");

    for (const point of [
      { txid: "zebra" },
      { txid: "-1" },
      { timestamp: "yesterday" },
      { generation: "../.." },
    ]) {
      assertFails(await restore(directory.path, out, point), exits.badRequest, /zebra|-1|yesterday|\.\./);
    }
  });

  test("does not follow a link out of the replica", async () => {
    await using directory = await temporaryDirectory();
    const root = await makeReplica(directory, 2);
    const [generation] = (await listRanges(root)).map((range) => range.generation);
    await symlink(
      "/etc",
      `${root}/${generation}/segments/0000000000000001-0000000000000001-000000000001.segment.cbor`,
    );

    const result = await restore(root, directory.file("out.db"));

    assert.equal(result.code, 0, result.stderr);
  });
});
