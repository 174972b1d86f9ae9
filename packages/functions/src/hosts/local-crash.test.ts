import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodePack, decodeSegmentFile, formatTxId, parseObjectName, segmentState } from "@pageferry/format";
import { historyOf } from "../../testing/history.ts";
import { localHost } from "./local.ts";

const history = historyOf("a1");

/** A host on a directory and a port of its own choosing; it prints its URL, and lives until it is killed. */
const hostProgram = `
  import { localHost } from ${JSON.stringify(new URL("./local.ts", import.meta.url).href)};
  const host = await localHost({ dataDir: process.argv[1], listen: { host: "127.0.0.1", port: 0 } });
  process.stdout.write(host.url + " " + host.token + "\\n");
`;

interface Child {
  readonly url: string;
  readonly token: string;
  kill(): Promise<void>;
}

async function startChild(dataDir: string): Promise<Child> {
  const flags = process.execArgv.filter((flag) => !flag.startsWith("--test"));
  const child = spawn(
    process.execPath,
    [...flags, "--input-type=module-typescript", "-e", hostProgram, dataDir],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").once("data", resolve);
    child.once("close", () => reject(new Error("the host ended by itself")));
  });
  const [url = "", token = ""] = line.trim().split(" ");
  return {
    url,
    token,
    async kill() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

/** Sends segment after segment until the host is gone; returns what was acknowledged. */
async function sendUntilGone(child: Child, next: () => number): Promise<number[]> {
  const acknowledged: number[] = [];
  const headers = { authorization: `Bearer ${child.token}` };
  const sender = async () => {
    for (;;) {
      const at = next();
      try {
        const { name, bytes } = history.segment(at, at + 1, 2000);
        let item: Parameters<typeof history.envelope>[0][number] = { name, bytes };
        if (at % 10 === 0) {
          const digest = createHash("sha256").update(bytes).digest("hex");
          const put = await fetch(`${child.url}/v1/stage/${digest}?database=app`, {
            method: "PUT",
            headers,
            body: bytes,
          });
          assert.ok(put.ok);
          item = { name, digest, size: bytes.length };
        }
        const answer = await fetch(`${child.url}/v1/ingest`, {
          method: "POST",
          headers: { ...headers, "content-type": "application/cbor" },
          body: history.envelope([item]),
        });
        assert.equal(answer.status, 202);
        acknowledged.push(at + 1);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        return;
      }
    }
  };
  await Promise.all([sender(), sender(), sender(), sender()]);
  return acknowledged;
}

/** Transactions whose segments are in the replica, whole and of this history. */
async function storedIn(directory: string): Promise<Set<number>> {
  const stored = new Set<number>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = entry.isFile() ? parseObjectName(path.slice(directory.length + 1)) : undefined;
    if (name?.kind !== "segment" && name?.kind !== "pack") continue;
    const bytes = await readFile(path);
    const files = name.kind === "pack" ? decodePack(bytes).map((part) => part.bytes) : [bytes];
    for (const file of files) {
      const { header } = decodeSegmentFile(file);
      assert.equal(segmentState(header).post, history.stateHash(Number(header.txId)));
      stored.add(Number(header.txId));
    }
  }
  return stored;
}

test("every envelope that was answered with 202 is in the replica, after the host was killed at random moments", async (t: TestContext) => {
  const dataDir = await mkdtemp(join(tmpdir(), "pageferry-crash-"));
  t.after(() => rm(dataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }));
  const acknowledged: number[] = [];
  let at = 4;

  for (let round = 0; round < 8; round++) {
    const child = await startChild(dataDir);
    const sending = sendUntilGone(child, () => at++);
    await sleep(50 + Math.random() * 250);
    await child.kill();
    acknowledged.push(...(await sending));
  }
  const host = await localHost({ dataDir }, { http: false });
  await host.close({ deadlineMs: 20_000 });

  const stored = await storedIn(join(dataDir, "replica/app"));
  const lost = acknowledged
    .filter((txId) => !stored.has(txId))
    .map((txId) => formatTxId(BigInt(txId) as never));
  t.diagnostic(`${acknowledged.length} acknowledged, ${stored.size} stored`);
  assert.ok(acknowledged.length > 50, `${acknowledged.length} were acknowledged`);
  assert.deepEqual(lost, []);
  assert.deepEqual(host.alarms(), []);
  const all = await readdir(dataDir, { recursive: true });
  assert.deepEqual(
    all.filter((name) => name.includes("quarantine")),
    [],
  );
});
