import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { suite, test } from "node:test";
import { temporary } from "../testing/agent-bench.ts";
import { ownSocket } from "./owned-socket.ts";

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
