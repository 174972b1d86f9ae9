import assert from "node:assert/strict";
import { rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { temporary } from "../testing/agent-bench.ts";
import { inChild, runOnSmallDisk } from "../testing/small-disk.ts";
import { askHolder, ownSocket } from "./owned-socket.ts";

const server = () => createServer((socket) => socket.end("it")).unref();

/** Not even an empty file can be made. */
async function fillNames(directory: string): Promise<string[]> {
  const names: string[] = [];
  for (;;) {
    const path = join(directory, `name-${names.length}`);
    try {
      await writeFile(path, "");
      names.push(path);
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
      return names;
    }
  }
}

async function ownOnFullDisk(directory: string): Promise<void> {
  const place = { directory, socketName: "a.sock", guardName: "a.guard" };
  const before = await ownSocket(server(), place);
  assert.ok(!("holder" in before));
  await before[Symbol.asyncDispose]();
  const names = await fillNames(directory);

  const owned = await ownSocket(server(), place);
  assert.ok(!("holder" in owned));
  assert.equal(await askHolder(join(directory, "a.sock")), undefined);
  await assert.rejects(ownSocket(server(), place), { code: "locked" });

  for (const path of names) await rm(path);
  while ((await askHolder(join(directory, "a.sock"))) === undefined) await setTimeout(50);
  assert.deepEqual(await ownSocket(server(), place), { holder: "it" });
  await owned[Symbol.asyncDispose]();
  const next = await ownSocket(server(), place);
  assert.ok(!("holder" in next));
  await next[Symbol.asyncDispose]();
}

if (inChild !== undefined) await ownOnFullDisk(inChild.directory);
else {
  suite("an owned socket", () => {
    const place = (directory: string) => ({ directory, socketName: "a.sock", guardName: "a.guard" });

    test("outlives a connection that could not be taken, as where descriptors are used up", async () => {
      await using directory = await temporary();
      const server = createServer((socket) => socket.end("me"));
      const owned = await ownSocket(server, place(directory.path));
      assert.ok(!("holder" in owned));
      await using _ = owned;

      server.emit("error", Object.assign(new Error("accept EMFILE"), { code: "EMFILE" }));

      const held = await ownSocket(createServer(), place(directory.path));
      assert.deepEqual(held, { holder: "me" });
    });

    test("that is private is so whatever the umask is, and the umask stays", async () => {
      await using directory = await temporary();
      const umask = process.umask(0);
      try {
        const owned = await ownSocket(createServer(), { ...place(directory.path), isPrivate: true });
        assert.ok(!("holder" in owned));
        await using _ = owned;

        assert.equal((await stat(join(directory.path, "a.sock"))).mode & 0o777, 0o600);
        assert.equal(process.umask(), 0);
      } finally {
        process.umask(umask);
      }
    });
  });

  suite("a socket on a disk where not even a name has room", () => {
    test("is owned all the same, by the guard, and is there as soon as there is room", () =>
      runOnSmallDisk(import.meta.filename, "names", "256k,nr_inodes=12"));
  });
}
