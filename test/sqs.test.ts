// The agent's queue at SQS, with a bucket for what no message holds, by ministack. The agent over it is sqs-agent.test.ts.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, afterEach, before, suite, test } from "node:test";
import { GetObjectCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { createSqsQueue, type Queue, type SqsQueueOptions, type StagedBody } from "@pageferry/agent";
import { inlineBytesMax, isPageferryError, PageferryError, sqsBytesMax } from "@pageferry/format";
import { startSlowLine } from "../packages/agent/testing/slow-line.ts";
import { startServe } from "./pageferry.ts";
import {
  type HttpProxy,
  type ProxiedRequest,
  s3Answer,
  startHttpProxy,
  type Verdict,
} from "./servers/http-proxy.ts";
import { startMinistack, withoutMinistack } from "./servers/ministack.ts";
import { type SqsAdmin, sqsAccount, sqsAdmin } from "./servers/sqs.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const mebibyte = 2 ** 20;

/** Parts of this size and more are tried with small bodies. */
const onePutBytesMax = 20 * mebibyte;

type Ministack = Awaited<ReturnType<typeof startMinistack>>;

function bodyOf(bytes: Uint8Array, sent: Uint8Array = bytes): StagedBody {
  return {
    digest: createHash("sha256").update(bytes).digest("hex"),
    size: bytes.length,
    async *open() {
      for (let at = 0; at < sent.length; at += mebibyte) yield sent.subarray(at, at + mebibyte);
    },
  };
}

function isSend({ headers }: ProxiedRequest): boolean {
  return headers["x-amz-target"] === "AmazonSQS.SendMessageBatch";
}

function sqsAnswer(status: number, type: string): NonNullable<Verdict["answer"]> {
  const body = JSON.stringify({ __type: `com.amazonaws.sqs#${type}`, message: type });
  return { status, body, headers: { "content-type": "application/x-amz-json-1.0" } };
}

suite("SQS as the agent's queue", { skip: withoutMinistack }, () => {
  let server: Ministack;
  let proxy: HttpProxy;
  let admin: SqsAdmin;
  let bucket: string;
  let name: string;
  const environment = { ...process.env };

  before(async () => {
    process.env.AWS_ACCESS_KEY_ID = "test";
    process.env.AWS_SECRET_ACCESS_KEY = "test";
    server = await startMinistack();
    proxy = await startHttpProxy(server.endpoint);
    admin = sqsAdmin(server.endpoint);
    bucket = await server.makeBucket();
    name = await admin.makeQueue();
  });

  afterEach(async () => {
    proxy.rule = () => undefined;
    await admin.takeAll(name);
  });

  after(async () => {
    process.env = environment;
    admin?.client.destroy();
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  function open(options: Partial<SqsQueueOptions> = {}, endpoint = proxy.endpoint): Queue {
    return createSqsQueue({
      url: `sqs://${sqsAccount}/${name}?endpoint=${endpoint}`,
      staging: `s3://${bucket}?endpoint=${endpoint}`,
      gatherMs: 30,
      onePutBytesMax,
      ...options,
    });
  }

  async function received(): Promise<string[]> {
    return (await admin.takeAll(name)).map(({ Body = "" }) => Body);
  }

  async function staged(digest: string): Promise<Uint8Array> {
    const Key = `stage/app/${digest}`;
    const { Body } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key }));
    return (await Body?.transformToByteArray()) ?? new Uint8Array();
  }

  function sends(): number {
    return proxy.requests.filter(isSend).length;
  }

  suite("a message", () => {
    test("shares its request with nine others, and carries the stage", async () => {
      const queue = open({ stage: "production" });
      const envelopes = Array.from({ length: 25 }, () => randomBytes(900));
      const before = sends();

      await Promise.all(envelopes.map((envelope) => queue.send(envelope)));

      assert.equal(sends() - before, 3);
      const messages = await admin.takeAll(name);
      const bodies = messages.map(({ Body = "" }) => Body);
      assert.deepEqual(bodies.sort(), envelopes.map((envelope) => envelope.toString("base64")).sort());
      assert.ok(
        messages.every(({ MessageAttributes }) => MessageAttributes?.stage?.StringValue === "production"),
      );
    });

    test("goes alone where 1 MiB has no room for two, and is refused where it has none for one", async () => {
      const queue = open({ stage: "s" });
      const most = Math.floor((sqsBytesMax - "stageStrings".length) / 4) * 3;
      const before = sends();

      await Promise.all([queue.send(randomBytes(400_000)), queue.send(randomBytes(400_000))]);
      await queue.send(randomBytes(most));
      await assert.rejects(queue.send(randomBytes(most + 1)), { code: "too-large" });

      assert.equal(sends() - before, 3);
      assert.equal((await received()).length, 3);
    });

    test("that the queue refuses fails alone, and the others are in", async () => {
      const queue = open();

      const sent = await Promise.allSettled([
        queue.send(randomBytes(10)),
        queue.send(new Uint8Array()),
        queue.send(randomBytes(10)),
      ]);

      assert.deepEqual(
        sent.map((one) => (one.status === "fulfilled" ? "taken" : one.reason.code)),
        ["taken", "bad-request", "taken"],
      );
      assert.equal((await received()).length, 2);
    });

    test("that fails for a while is sent again alone", async () => {
      const queue = open();
      const envelopes = [randomBytes(20), randomBytes(20), randomBytes(20)] as const;
      proxy.rule = (request) => (isSend(request) ? { rewrite: withFailed("1", "InternalError") } : undefined);

      const sent = await Promise.allSettled(envelopes.map((envelope) => queue.send(envelope)));
      proxy.rule = () => undefined;
      await queue.send(envelopes[1]);

      assert.deepEqual(
        sent.map((one) => (one.status === "fulfilled" ? "taken" : one.reason.code)),
        ["taken", "unavailable", "taken"],
      );
      // This server had taken it: twice is legal, not once is not.
      assert.equal((await received()).length, 4);
    });

    test("is not acknowledged when the queue holds other bytes", async () => {
      const queue = open();
      proxy.rule = (request) =>
        isSend(request) ? { rewrite: (text) => text.replace(/[0-9a-f]{32}/, "0".repeat(32)) } : undefined;

      await assert.rejects(queue.send(randomBytes(30)), { code: "unavailable" });
    });

    test("whose answer is lost is not acknowledged, and twice there when it is sent again", async () => {
      const queue = open();
      const envelope = randomBytes(40);
      proxy.rule = (request) => (isSend(request) ? { loseAnswer: true } : undefined);

      await assert.rejects(queue.send(envelope), { code: "unavailable" });
      proxy.rule = () => undefined;
      await queue.send(envelope);

      assert.deepEqual(
        await received(),
        Array.from({ length: 2 }, () => envelope.toString("base64")),
      );
    });
  });

  suite("a staged body", () => {
    for (const [how, size] of [
      ["whole", 3 * mebibyte + 1],
      ["in parts", onePutBytesMax + 5],
    ] as const) {
      test(`lies under its digest, ${how}, and is there as well when it is staged twice`, async () => {
        const queue = open();
        const bytes = randomBytes(size);
        const body = bodyOf(bytes);

        await queue.stage("app", body);
        await queue.stage("app", body);

        assert.ok(bytes.equals(await staged(body.digest)));
        assert.deepEqual(await server.uploads(bucket), []);
      });

      test(`that is changed on the way is not kept, ${how}`, async () => {
        const body = bodyOf(randomBytes(size), randomBytes(size));

        await assert.rejects(open().stage("app", body), { code: "corrupt" });

        await assert.rejects(staged(body.digest), { name: "NoSuchKey" });
        assert.deepEqual(await server.uploads(bucket), []);
      });

      test(`that cannot be read to its end is told so at once, ${how}`, async () => {
        const bytes = randomBytes(size);
        const body = bodyOf(bytes, bytes.subarray(0, size - 1));

        await assert.rejects(open().stage("app", body), (error) => {
          assert.ok(isPageferryError(error, "corrupt"), String(error));
          return /fewer than/.test(error.message);
        });
      });
    }

    test("is staged by two at once", async () => {
      const body = bodyOf(randomBytes(mebibyte));

      await Promise.all([open().stage("app", body), open().stage("app", body)]);

      assert.equal((await staged(body.digest)).length, mebibyte);
    });

    test("that a server refuses by cutting the line is there, where it may be looked at", async () => {
      const body = bodyOf(randomBytes(3 * mebibyte));
      await open().stage("app", body);

      proxy.rule = ({ method }) => (method === "PUT" ? { reset: true } : undefined);
      await open().stage("app", body);
      proxy.rule = ({ method }) =>
        method === "PUT" ? { reset: true } : { answer: s3Answer(403, "AccessDenied") };
      await assert.rejects(open().stage("app", body), { code: "unavailable" });
      proxy.rule = ({ method }) => (method === "PUT" ? { reset: true } : undefined);
      await assert.rejects(open().stage("app", bodyOf(randomBytes(1000))), { code: "unavailable" });
    });

    test("in parts survives a line that breaks now and then", async () => {
      const bytes = randomBytes(onePutBytesMax + 5);
      let parts = 0;
      proxy.rule = ({ path, method }) => {
        if (method !== "PUT" || !path.includes("partNumber")) return undefined;
        parts += 1;
        return parts === 1
          ? { reset: true }
          : parts === 3
            ? { answer: s3Answer(503, "SlowDown") }
            : undefined;
      };

      await open().stage("app", bodyOf(bytes));

      assert.equal(parts, 4);
      assert.ok(bytes.equals(await staged(bodyOf(bytes).digest)));
    });

    test("above 8 GB is refused before anything is read", async () => {
      const huge: StagedBody = {
        digest: "0".repeat(64),
        size: 8_000_000_001,
        open: () => assert.fail("it was read"),
      };

      await assert.rejects(open().stage("app", huge), { code: "too-large" });
    });

    test("never lies outside of its prefix", async () => {
      const { Contents = [] } = await server.client.send(new ListObjectsV2Command({ Bucket: bucket }));

      assert.ok(Contents.length > 0);
      assert.ok(Contents.every(({ Key = "" }) => /^stage\/app\/[0-9a-f]{64}$/.test(Key)));
    });
  });

  suite("a slow line", () => {
    test("carries a message for as long as it takes, far above the time for an answer", async () => {
      await using line = await startSlowLine(server.port, 400_000);
      const startMs = performance.now();

      await open({ timeoutMs: 200 }, line.url).send(randomBytes(inlineBytesMax));

      assert.ok(performance.now() - startMs > 1000, "the line was not slow");
      assert.equal((await received()).length, 1);
    });

    test("carries a large body for as long as it moves", async () => {
      await using line = await startSlowLine(server.port, 6 * mebibyte);
      const startMs = performance.now();

      await open({ stallMs: 300 }, line.url).stage("app", bodyOf(randomBytes(12 * mebibyte)));

      assert.ok(performance.now() - startMs > 1000, "the line was not slow");
    });
  });

  suite("what is missing", () => {
    test("is what the API says, with a token", async () => {
      await using directory = await temporaryDirectory();
      await using host = await startServe({ dataDir: directory.path });
      const token = await host.token();

      const needs = await open({ api: host.url, token }).needs("app");

      assert.deepEqual(needs?.generations, {});
      await assert.rejects(open({ api: host.url, token: "wrong" }).needs("app"), { code: "unauthorized" });
    });

    test("nobody knows without one", async () => {
      assert.equal(await open().needs("app"), undefined);
    });
  });

  suite("trouble", () => {
    for (const [type, status, code] of [
      ["AccessDeniedException", 400, "unauthorized"],
      ["InvalidClientTokenId", 403, "unauthorized"],
      ["RequestThrottled", 400, "unavailable"],
      ["InternalFailure", 500, "unavailable"],
    ] as const) {
      test(`is told by its code: ${type}`, async () => {
        proxy.rule = (request) => ({
          answer: isSend(request) ? sqsAnswer(status, type) : s3Answer(status === 400 ? 403 : status, type),
        });

        await assert.rejects(open().send(randomBytes(10)), { code });
        await assert.rejects(open().stage("app", bodyOf(randomBytes(1000))), {
          code: type === "RequestThrottled" ? "unavailable" : code,
        });
      });
    }

    test("is a page of somebody in between, who says 200 to everything", async () => {
      const headers = { "content-type": "text/html" };
      proxy.rule = () => ({ answer: { status: 200, body: "<p>Sign in</p>", headers } });

      await assert.rejects(open().send(randomBytes(10)), { code: "unavailable" });
    });

    test("is a queue or a bucket that is gone, and says what to do", async () => {
      const url = `sqs://${sqsAccount}/gone?endpoint=${proxy.endpoint}`;
      const queue = open({ url, staging: `s3://gone?endpoint=${proxy.endpoint}` });

      for (const attempt of [
        () => queue.send(randomBytes(10)),
        () => queue.stage("app", bodyOf(randomBytes(10))),
      ]) {
        await assert.rejects(attempt, (error) => {
          assert.ok(isPageferryError(error, "unavailable"), String(error));
          return /There is no such (queue|bucket)/.test(error.hint);
        });
      }
    });

    test("ends at once when the signal says so, and others go on", async () => {
      const reason = new Error("enough");
      const held = Promise.withResolvers<undefined>();
      proxy.rule = () => held.promise;
      const [queue, aborted] = [open(), new AbortController()];
      const { signal } = aborted;

      const other = queue.send(randomBytes(10));
      const calls = [
        queue.send(randomBytes(10), { signal }),
        queue.stage("app", bodyOf(randomBytes(10)), { signal }),
      ];
      const ended = Promise.all(calls.map((call) => assert.rejects(call, reason)));
      await until("the request is under way", () => proxy.requests.some(isSend));
      const startMs = performance.now();
      aborted.abort(reason);
      await ended;

      assert.ok(performance.now() - startMs < 1000);
      held.resolve(undefined);
      await other;
      await assert.rejects(queue.send(randomBytes(10), { signal }), reason);
    });

    test("of a server that stands still ends after a while, and it goes on when it returns", async () => {
      const queue = open({ timeoutMs: 300, stallMs: 300 }, server.endpoint);
      server.freeze();
      try {
        await assert.rejects(queue.send(randomBytes(10)), { code: "unavailable" });
        await assert.rejects(queue.stage("app", bodyOf(randomBytes(2000))), { code: "unavailable" });
      } finally {
        server.thaw();
      }

      await until("it returned", async () => queue.send(randomBytes(10)).then(() => true));
      await queue.stage("app", bodyOf(randomBytes(2000)));
    });

    test("holds no secret, whatever happens", async () => {
      proxy.rule = (request) => ({
        answer: isSend(request)
          ? sqsAnswer(403, "InvalidSignatureException")
          : s3Answer(403, "SignatureDoesNotMatch", "test of AKIAHUSH"),
      });
      process.env.AWS_SECRET_ACCESS_KEY = "hush-hush";
      try {
        for (const call of [
          () => open().send(randomBytes(9)),
          () => open().stage("app", bodyOf(randomBytes(9))),
        ]) {
          const error = await call().then(
            () => assert.fail("it was taken"),
            (thrown: unknown) => thrown,
          );
          assert.ok(error instanceof PageferryError);
          assert.doesNotMatch(`${error.message} ${error.hint}`, /hush/i);
        }
      } finally {
        process.env.AWS_SECRET_ACCESS_KEY = "test";
      }
    });
  });

  test("a server that died is unavailable, and takes messages when it is back", async () => {
    const queue = open({}, server.endpoint);
    await server.kill();
    await assert.rejects(queue.send(randomBytes(10)), { code: "unavailable" });
    await assert.rejects(queue.stage("app", bodyOf(randomBytes(10))), { code: "unavailable" });

    await server.restart();
    // What it held is gone with it.
    await admin.makeQueue(name);
    await server.makeBucket({}, bucket);

    await until("it is back", async () => queue.send(randomBytes(10)).then(() => true));
    await queue.stage("app", bodyOf(randomBytes(10)));
    assert.equal((await received()).length, 1);
  });
});

/** An answer in which one entry failed. */
function withFailed(id: string, code: string): (text: string) => string {
  return (text) => {
    const answer = JSON.parse(text) as { Successful: { Id: string }[]; Failed?: unknown[] };
    const Successful = answer.Successful.filter((entry) => entry.Id !== id);
    const Failed = [{ Id: id, Code: code, Message: code, SenderFault: false }];
    return JSON.stringify({ ...answer, Successful, Failed });
  };
}
