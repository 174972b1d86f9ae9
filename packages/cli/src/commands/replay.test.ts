import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { localHost } from "@pageferry/functions/hosts/local";
import { capturedIo } from "../../testing/captured-io.ts";
import { run } from "../main.ts";

async function startHost(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-replay-"));
  const dataDir = join(directory, "data");
  const host = await localHost({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
  t.after(async () => {
    await host.close();
    await rm(directory, { recursive: true });
  });
  const pageferry = async (...argv: string[]) => {
    const io = capturedIo();
    return { code: await run([...argv, "--data", dataDir, host.url ?? ""], io), ...io.said };
  };
  return { pageferry, replica: `file://${join(dataDir, "replica")}` };
}

suite("pageferry replay", () => {
  test("says of each replica how much is tried again", async (t) => {
    const { pageferry, replica } = await startHost(t);

    const { code, out } = await pageferry("replay", "--replica", replica, "--database", "app");

    assert.deepEqual([code, out], [0, `${replica}: nothing was set aside\n`]);
  });

  test("gives the host's answer as JSON", async (t) => {
    const { pageferry, replica } = await startHost(t);

    const { out } = await pageferry("replay", "--forks", "--json");

    assert.deepEqual(JSON.parse(out), { replayed: [{ replica, messages: 0 }], forks: 0 });
  });

  test("names the replicas that there are when it is given another", async (t) => {
    const { pageferry, replica } = await startHost(t);

    const { code, err } = await pageferry("replay", "--replica", "s3://none");

    assert.equal(code, 3);
    assert.match(err, /s3:\/\/none is not configured/);
    assert.ok(err.includes(replica));
  });
});
