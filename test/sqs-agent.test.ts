// A live agent over SQS, with everything that a line does to it: what its messages hold restores the database as it was.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newestTxId } from "./capture-run.ts";
import { type Acknowledged, openChecker, readWriterLog, runWriter, startWriter } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { pageferry, pageferryCommand } from "./pageferry.ts";
import { type RunningProcess, startProcess } from "./processes.ts";
import { openReplica } from "./restores.ts";
import { type HttpProxy, s3Answer, startHttpProxy } from "./servers/http-proxy.ts";
import { startMinistack, withoutMinistack } from "./servers/ministack.ts";
import { sqsAccount, sqsAdmin } from "./servers/sqs.ts";
import { unpackMessages } from "./sqs-archive.ts";
import { type Chance, chance, type TemporaryDirectory, temporaryDirectory } from "./temporary.ts";

const luck = chance();
const names = ["orders", "users"] as const;

/** Some requests break, some answers are lost, some are told to come later. */
function badLine(random: Chance): HttpProxy["rule"] {
  return () => {
    const at = random.next();
    if (at < 0.1) return { reset: true };
    if (at < 0.25) return { loseAnswer: true };
    return at < 0.3 ? { answer: s3Answer(503, "SlowDown") } : undefined;
  };
}

interface Line {
  readonly endpoint: string;
  readonly queue: string;
  readonly bucket: string;
}

async function startAgent(directory: TemporaryDirectory, line: Line): Promise<RunningProcess> {
  const { endpoint, queue, bucket } = line;
  const to = [
    ...["--queue", `sqs://${sqsAccount}/${queue}?endpoint=${endpoint}`],
    ...["--staging", `s3://${bucket}?endpoint=${endpoint}`, "--stage", "production"],
  ];
  const how = ["--sync-interval", "100ms", "--granularity", "transaction", "--data", directory.file("data")];
  const files = names.map((name) => directory.file(`${name}.db`));
  const agent = startProcess(...pageferryCommand(["replicate", ...files, ...to, ...how]), {
    env: { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" },
  });
  await agent.line(/^ready: sending/, 30_000);
  return agent;
}

/** Restores the newest point and some others, and judges them beside what the writer was told is committed. */
async function restoreAndJudge(root: string, path: string): Promise<string[]> {
  await using checker = openChecker();
  const replica = await openReplica(root);
  const points = await replica.points();
  const log: ReadonlyMap<number, Acknowledged> = byTxId(await readWriterLog(`${path}.log`));
  const newest = await newestTxId(path);
  const txIdOf = ({ txid }: { readonly txid: string }) => Number.parseInt(txid, 16);
  const last = points.find((point) => txIdOf(point) === newest);
  if (last === undefined) return [`${newest} is no point`];
  const bad: string[] = [];
  for (const [index, point] of [last, ...luck.sample(points, 6)].entries()) {
    const out = `${path}.restored-${index}`;
    await replica.restore(out, point);
    const { verdict, problems } = await judge(checker, out, { txId: txIdOf(point), log });
    bad.push(...problems);
    if (index > 0) continue;
    const live = await checker.check(path);
    if (live.liveSha256 !== verdict.liveSha256) bad.push(`${out}: it is not the live file`);
  }
  return bad;
}

suite(`an agent over SQS (seed ${luck.seed})`, { skip: withoutMinistack }, () => {
  test("brings two databases home, through a bad line, an outage and a kill", async (t) => {
    await using directory = await temporaryDirectory();
    await using server = await startMinistack();
    await using proxy = await startHttpProxy(server.endpoint);
    const admin = sqsAdmin(server.endpoint);
    const [queue, bucket] = [await admin.makeQueue(), await server.makeBucket()];
    const line = { endpoint: proxy.endpoint, queue, bucket };
    const paths = names.map((name) => directory.file(`${name}.db`));
    for (const path of paths) await runWriter({ path, count: 5, initialMB: 2 });

    let agent = await startAgent(directory, line);
    const writers = await Promise.all(
      paths.map((path, seed) => startWriter({ path, rate: 40, log: `${path}.log`, seed })),
    );
    proxy.rule = badLine(luck);
    await sleep(3000);
    proxy.rule = () => ({ reset: true });
    await sleep(1500);
    proxy.rule = badLine(luck);
    await sleep(1500);
    agent.kill("SIGKILL");
    await agent.ended;
    agent = await startAgent(directory, line);
    await sleep(2500);
    for (const writer of writers) await writer.finish();
    // Transactions that no message holds.
    for (const path of paths) {
      await runWriter({ path, count: 2, keys: 300, value: 8000, log: `${path}.log`, seed: 9 });
    }
    proxy.rule = () => undefined;
    await sleep(1000);
    agent.kill("SIGTERM");
    const { code } = await agent.ended;

    const messages = await admin.takeAll(queue);
    const { client } = server;
    const found = await unpackMessages(messages, { directory: directory.file("archive"), client, bucket });
    const requests = proxy.requests.filter(({ headers }) =>
      String(headers["x-amz-target"]).endsWith("Batch"),
    );
    const { inline, staged, repeated } = found;
    t.diagnostic(
      JSON.stringify({ messages: messages.length, requests: requests.length, inline, staged, repeated }),
    );
    assert.equal(code, 0, agent.output());
    assert.ok(staged >= 4, "snapshots and large transactions are staged");
    assert.ok(repeated > 0, "answers were lost");
    assert.ok(messages.every((one) => one.MessageAttributes?.stage?.StringValue === "production"));
    for (const [index, name] of names.entries()) {
      const bad = await restoreAndJudge(directory.file("archive", name), paths[index] ?? "");
      assert.deepEqual(bad, []);
    }
    admin.client.destroy();
  });

  test("is refused before it starts where snapshots would have no place", async () => {
    const { code, stderr } = await pageferry([
      "replicate",
      "app.db",
      "--queue",
      "sqs://123456789012/q?region=eu-west-1",
    ]);

    assert.equal(code, 2);
    assert.match(stderr, /queue\.staging is missing.*add `staging: s3:\/\/BUCKET`/);
  });
});
