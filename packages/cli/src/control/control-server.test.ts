import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { capturedIo } from "../../testing/captured-io.ts";
import { createLog } from "../log.ts";
import { callAgent } from "./control-client.ts";
import { openControl } from "./control-server.ts";

suite("the control socket", () => {
  let shadowDir: string;
  beforeEach(async () => {
    shadowDir = await mkdtemp(join(tmpdir(), "pageferry-control-"));
  });
  afterEach(() => rm(shadowDir, { recursive: true }));

  const modeOf = async (path: string) => (await stat(path)).mode & 0o777;
  const open = () =>
    openControl({
      shadowDir,
      handlers: { "GET /v1/status": () => ({ is: "here" }) },
      log: createLog(capturedIo()),
    });
  const ask = () =>
    callAgent({ shadowDir, method: "GET", path: "/v1/status", signal: new AbortController().signal });

  test("is its user's alone, and leaves a directory that was there to whom it belongs", async () => {
    await chmod(shadowDir, 0o755);
    const umask = process.umask(0);
    try {
      await using _ = await open();

      assert.equal(await modeOf(shadowDir), 0o755);
      assert.equal(await modeOf(join(shadowDir, "control.sock")), 0o600);
      assert.deepEqual(await ask(), { is: "here" });
    } finally {
      process.umask(umask);
    }
  });

  test("makes the directory that is not there, for its user alone", async () => {
    const top = shadowDir;
    shadowDir = join(top, "shadow");
    {
      await using _ = await open();

      assert.equal(await modeOf(shadowDir), 0o700);
    }
    shadowDir = top;
  });

  test("takes the place of what a killed process left, and of nothing else", async () => {
    await writeFile(join(shadowDir, "control.sock"), "left");
    {
      await using _ = await open();
      await assert.rejects(open(), { code: "locked" });
      assert.deepEqual(await ask(), { is: "here" });
    }
    await assert.rejects(ask(), { code: "not-found" });

    await mkdir(join(shadowDir, "control.sock"));
    await assert.rejects(open());
  });

  test("ends at once, also with clients that say nothing", async () => {
    const control = await open();
    const silent = connect(join(shadowDir, "control.sock"));
    await new Promise((settle) => silent.once("connect", settle));
    const closed = new Promise((settle) => silent.once("close", settle));

    await control[Symbol.asyncDispose]();

    await closed;
  });
});
