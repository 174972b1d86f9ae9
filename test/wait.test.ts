// `pageferry wait`, the command, through the restart of a host and beyond its time.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatTxId, txId } from "@pageferry/format";
import { localHost } from "@pageferry/functions/hosts/local";
import { epochMs, historyOf } from "../packages/functions/testing/history.ts";
import { pageferry } from "./pageferry.ts";
import { freePort, temporaryDirectory } from "./temporary.ts";

const history = historyOf("a1");
const newest = (id: number) => ({ newestTxId: txId(id), newestStampMs: epochMs + id * 1000 });

suite("pageferry wait", () => {
  test("ends when it is there, though the host was restarted meanwhile, and with 11 when it does not come", async () => {
    await using directory = await temporaryDirectory();
    const dataDir = directory.file("data");
    const port = await freePort();
    const config = { dataDir, listen: { host: "127.0.0.1", port } };
    const host = await localHost(config);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));
    const args = ["wait", "app", "--host", `http://127.0.0.1:${port}`, "--data", dataDir, "--json"];
    const txid = formatTxId(txId(6));

    const waiting = pageferry([...args, "--txid", txid, "--timeout", "60s"]);
    await sleep(3000);
    await host.close({ deadlineMs: 0 });
    await sleep(1500);
    await using after = await localHost(config);
    await after.queue.send(history.envelope([history.segment(4, 6)], newest(6)));
    const there = await waiting;
    const late = await pageferry([...args, "--txid", "9", "--timeout", "300ms"]);
    const all = await pageferry(args);

    assert.equal(there.code, 0, there.stderr);
    assert.equal(JSON.parse(there.stdout).txid, txid);
    assert.ok(JSON.parse(there.stdout).waitedMs > 1500);
    assert.equal(late.code, 11, late.stderr);
    assert.match(
      late.stderr,
      /0 of 1 replica can restore 0000000000000009 of app, or later: .* has 0{15}6\nhint: /,
    );
    assert.equal(JSON.parse(late.stdout).error.code, "timeout");
    assert.equal(all.code, 0, all.stderr);
  });
});
