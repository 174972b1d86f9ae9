import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { decodeEnvelope, parseDatabaseName } from "@pageferry/format";
import type { SQSRecord } from "aws-lambda";
import { historyOf } from "../../../testing/history.ts";
import type { LambdaEnvironment } from "./environment.ts";
import {
  bytesOf,
  checkSizes,
  checkStage,
  copiedBytesMax,
  databasesOf,
  deadLetter,
  receivedAtMsOf,
} from "./records.ts";
import { messageBytes } from "./sqs.ts";

const app = parseDatabaseName("app");
const other = parseDatabaseName("other");

function recordOf(
  attributes: Readonly<Record<string, string>> = {},
  more: Partial<SQSRecord> = {},
): SQSRecord {
  const messageAttributes = Object.fromEntries(
    Object.entries(attributes).map(([name, stringValue]) => [name, { dataType: "String", stringValue }]),
  );
  return {
    ...{ messageId: "m1", receiptHandle: "r1", body: "AAAA", md5OfBody: "", awsRegion: "", eventSource: "" },
    eventSourceARN: "arn:aws:sqs:eu-central-1:1:ingest",
    attributes: {
      ...{ ApproximateReceiveCount: "1", SentTimestamp: "1000", ApproximateFirstReceiveTimestamp: "1000" },
      SenderId: "AROAHOST:session",
    },
    messageAttributes,
    ...more,
  };
}

const bound = (
  senders: LambdaEnvironment["senders"],
  databases: readonly string[] = [],
): Parameters<typeof databasesOf>[1] => ({
  senders,
  config: {
    databases: databases.map((name) => ({ name, path: name })),
  } as unknown as LambdaEnvironment["config"],
});

suite("a sender", () => {
  test("adds to the databases it is bound to, whatever its session is called, and to no other", () => {
    const mayAdd = databasesOf(recordOf(), bound(new Map([["AROAHOST", new Set(["app"])]])));
    mayAdd(app);
    assert.throws(() => mayAdd(other), {
      code: "forbidden",
      message: /AROAHOST is not bound to database other/,
    });
  });

  test("that is not known adds to none", () => {
    const mayAdd = databasesOf(recordOf(), bound(new Map([["AROAHOST2", "*"]])));
    assert.throws(() => mayAdd(app), { code: "forbidden" });
  });

  test("where none is bound adds to every database, or to those that are configured", () => {
    databasesOf(recordOf(), bound(undefined))(other);
    const mayAdd = databasesOf(recordOf(), bound(undefined, ["app"]));
    mayAdd(app);
    assert.throws(() => mayAdd(other), { code: "forbidden", message: /none of app/ });
  });

  test("of a dead letter that is sent again is its first one, if the second may send for all", () => {
    const senders = new Map<string, "*" | Set<string>>([
      ["AROAAPI", "*"],
      ["AROAHOST", new Set(["app"])],
    ]);
    const sent = (by: string, first: string) =>
      databasesOf(
        recordOf({ sender: first }, { attributes: { ...recordOf().attributes, SenderId: `${by}:x` } }),
        bound(senders),
      );
    sent("AROAAPI", "AROAHOST:session")(app);
    assert.throws(() => sent("AROAAPI", "AROAHOST:session")(other), { code: "forbidden" });
    // Who may send for one database gains nothing by naming another sender.
    assert.throws(() => sent("AROAHOST", "AROAAPI:x")(other), { code: "forbidden" });
  });
});

suite("a message", () => {
  test("of an agent of another stage is refused; one that names none is taken", () => {
    checkStage(recordOf(), "production");
    checkStage(recordOf({ stage: "production" }), "production");
    assert.throws(() => checkStage(recordOf({ stage: "dev" }), "production"), { code: "forbidden" });
  });

  test("whose body is not base64 is corrupt", () => {
    assert.deepEqual([...bytesOf(recordOf())], [0, 0, 0]);
    for (const body of ["AAA", '{"a":1}', "AA=A", "A\u00e4AA"])
      assert.throws(() => bytesOf(recordOf({}, { body })), { code: "corrupt" });
  });

  test("that points at a body above the tested size is refused, not tried", () => {
    const history = historyOf("a1");
    const { name } = history.snapshot(1);
    const digest = "0".repeat(64);
    const of = (size: number) => decodeEnvelope(history.envelope([{ name, digest, size }]));
    checkSizes(of(copiedBytesMax));
    assert.throws(() => checkSizes(of(copiedBytesMax + 1)), { code: "too-large" });
  });

  test("keeps the time of its receipt through lanes and dead letters", () => {
    assert.equal(receivedAtMsOf(recordOf()), 1000);
    assert.equal(receivedAtMsOf(recordOf({ receivedAtMs: "77" })), 77);
    assert.equal(receivedAtMsOf(recordOf({ receivedAtMs: "soon" })), 1000);
  });
});

suite("a dead letter", () => {
  test("is the message as it came, with why, by whom, and for which stage", () => {
    const letter = deadLetter(recordOf({ stage: "dev" }), 1000, "corrupt: an \u00fcmlaut\nand a line");
    assert.deepEqual(letter, {
      body: "AAAA",
      attributes: {
        ...{ receivedAtMs: "1000", code: "corrupt", reason: "corrupt: an ?mlaut?and a line" },
        ...{ sender: "AROAHOST:session", stage: "dev" },
      },
    });
  });

  test("that filled its message to the last byte goes without words", () => {
    const body = "A".repeat(1024 * 1024);
    const letter = deadLetter(recordOf({}, { body }), 1000, "corrupt: what is this");
    assert.equal(messageBytes(letter), body.length);
  });
});
