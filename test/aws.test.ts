// Everything on a local AWS: a live bbolt writer, an agent over SQS, Lambda behind it, two replicas, schedules, and a restore by the API with
// nothing but a token. On the way messages come twice, late and out of order, one is poison, and functions are killed at random.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DeleteMessageCommand, ReceiveMessageCommand, SendMessageCommand } from "@aws-sdk/client-sqs";
import { openArchive, parseDatabaseName, planFromArchive, readPoints } from "@pageferry/format";
import { restoreFile } from "@pageferry/format/node";
import { openReplicaSet } from "@pageferry/functions";
import { type LocalAws, startLocalAws } from "./aws/local-aws.ts";
import { newestTxId } from "./capture-run.ts";
import { openChecker, readWriterLog, startWriter } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { hexTxId, pageferryCommand, restore } from "./pageferry.ts";
import { startProcess } from "./processes.ts";
import { withoutLambdaClient } from "./servers/lambda-runtime.ts";
import { withoutMinistack } from "./servers/ministack.ts";
import { natsMissing } from "./servers/nats.ts";
import { type Chance, chance, temporaryDirectory, until } from "./temporary.ts";

const skip = withoutMinistack || natsMissing || withoutLambdaClient;

/** Hands on what an agent sent: in another order, some of it late, and every third message twice. */
async function handOn(
  { sqs, queueUrls }: LocalAws,
  random: Chance,
): Promise<{ sent: number; twice: number }> {
  const { Messages = [] } = await sqs.send(
    new ReceiveMessageCommand({
      ...{ QueueUrl: queueUrls.entry, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 },
      MessageAttributeNames: ["All"],
    }),
  );
  let twice = 0;
  for (const { Body, MessageAttributes, ReceiptHandle } of random.sample(Messages, Messages.length)) {
    const copies = random.below(3) === 0 ? 2 : 1;
    twice += copies - 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const DelaySeconds = random.below(4);
      const message = { MessageBody: Body, MessageAttributes, DelaySeconds };
      await sqs.send(new SendMessageCommand({ QueueUrl: queueUrls.ingest, ...message }));
    }
    await sqs.send(new DeleteMessageCommand({ QueueUrl: queueUrls.entry, ReceiptHandle }));
  }
  return { sent: Messages.length, twice };
}

/** Kills one of the processes that functions run in. */
async function killFunction(pid: number, random: Chance): Promise<number> {
  const children: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    const command = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    // Its own helpers are children, too.
    const isFunction = /(^|\/)node$/.test(command.split("\0")[0] ?? "");
    const isChild = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid;
    if (isChild && isFunction) children.push(Number(name));
  }
  const [victim] = random.sample(children, 1);
  if (victim !== undefined) process.kill(victim, "SIGKILL");
  return victim === undefined ? 0 : 1;
}

suite("on a local AWS", { skip }, () => {
  test("nothing is lost, and each replica and the API restore the live file", async (t) => {
    const random = chance();
    await using directory = await temporaryDirectory();
    await using aws = await startLocalAws({ compaction: { levels: ["5s", "20s"] }, packWindow: "0s" });
    const [path, log] = [directory.file("app.db"), directory.file("app.log")];
    await using writer = await startWriter({ path, log, rate: 20 });
    const args = ["replicate", path, "--shadow", directory.file("shadow"), ...aws.agent.arguments];
    await using agent = startProcess(...pageferryCommand(args), { env: aws.agent.env });
    await aws.sqs.send(
      new SendMessageCommand({ QueueUrl: aws.queueUrls.ingest, MessageBody: "this is no envelope" }),
    );
    const handingOn = { isOver: false };
    const handed = { sent: 0, twice: 0 };
    using _stopped = {
      [Symbol.dispose]() {
        handingOn.isOver = true;
      },
    };
    const handing = (async () => {
      while (!handingOn.isOver) {
        const { sent, twice } = await handOn(aws, random);
        handed.sent += sent;
        handed.twice += twice;
      }
    })();
    handing.catch(() => undefined);
    let kills = 0;
    for (let round = 0; round < 4; round += 1) {
      await sleep(3000);
      kills += await killFunction(aws.pid, random);
      if (round === 2) await aws.schedule("compact").catch(() => undefined);
    }
    await writer.finish();
    const last = await newestTxId(path);
    const headers = { authorization: `Bearer ${aws.tokens.restore}` };
    const base = `${aws.url}/v1/databases/app`;
    await until(
      `both replicas have ${last}`,
      async () => {
        if (!agent.isRunning()) throw new Error("the agent ended");
        const answer = await fetch(`${base}/wait?txid=${last}&replicas=2&timeout=5s`, { headers });
        if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
        return true;
      },
      { timeoutMs: 90_000, everyMs: 500 },
    ).catch((error: unknown) => {
      throw new Error(`${error}\n${agent.output().slice(-3000)}`);
    });
    const ended = await agent.stop();
    handingOn.isOver = true;
    await handing;
    for (const name of ["compact", "prune", "verify"] as const) {
      t.diagnostic(`${name}: ${JSON.stringify(await aws.schedule(name))}`);
    }

    await using checker = openChecker();
    const { liveSha256: live } = await checker.check(path);
    const committed = byTxId(await readWriterLog(log));
    const out = directory.file("by-api.db");
    const restored = await restore(
      base,
      out,
      {},
      {
        env: { ...aws.agent.env, PAGEFERRY_TOKEN: aws.tokens.restore },
      },
    );
    assert.equal(restored.code, 0, restored.stderr);
    assert.equal((await checker.check(out)).liveSha256, live);
    const bad: string[] = [];
    for (const entry of aws.replicas) {
      await using set = await openReplicaSet(entry);
      const { reader } = await set.of(parseDatabaseName("app"));
      const archive = await openArchive([reader]);
      const points = await readPoints(archive);
      for (const target of [{}, ...random.sample(points, 3)]) {
        const output = directory.file(`restored-${bad.length}-${Math.random()}.db`);
        const plan = await planFromArchive(archive, target);
        await restoreFile({ plan, readers: archive.readers, output });
        const { verdict, problems } = await judge(checker, output, { log: committed });
        bad.push(...problems);
        if (!("txId" in target) && verdict.liveSha256 !== live) bad.push("the newest is not the live file");
      }
    }
    assert.deepEqual(bad, []);
    assert.equal(ended.code, 0);
    t.diagnostic(JSON.stringify({ seed: random.seed, transactions: hexTxId(last), ...handed, kills }));
    assert.ok(handed.twice > 0 && kills > 0);
  });
});
