import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseConfig } from "./config.ts";
import { parseQueueUrl, parseStagingUrl } from "./config-queue.ts";
import { isPageferryError } from "./errors.ts";

const sqs = "https://sqs.eu-central-1.amazonaws.com/123456789012/pageferry-production";
const staging = "s3://stage-bucket";

function messageOf(value: unknown): string {
  try {
    parseConfig(value, { source: "pageferry.yml" });
  } catch (error) {
    assert.ok(isPageferryError(error, "bad-config"), String(error));
    return error.message;
  }
  assert.fail("it was taken");
}

suite("the URL of a queue", () => {
  test("is a host's, unless it is one of SQS's", () => {
    assert.equal(parseQueueUrl("http://127.0.0.1:7373"), undefined);
    assert.equal(parseQueueUrl("https://sqs.example.com/123456789012/name"), undefined);
    assert.deepEqual(parseQueueUrl(sqs), { queueUrl: sqs, region: "eu-central-1" });
  });

  for (const [host, region] of [
    ["sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"],
    ["sqs-fips.us-east-1.amazonaws.com", "us-east-1"],
    ["sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"],
    ["sqs.eu-west-1.api.aws", "eu-west-1"],
    ["vpce-0abc-1.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"],
  ] as const) {
    test(`names its region: ${host}`, () => {
      assert.equal(parseQueueUrl(`https://${host}/123456789012/name`)?.region, region);
    });
  }

  test("has a short form, which names the region, or a server elsewhere", () => {
    assert.deepEqual(parseQueueUrl("sqs://123456789012/name?region=eu-west-1"), {
      queueUrl: "https://sqs.eu-west-1.amazonaws.com/123456789012/name",
      region: "eu-west-1",
    });
    assert.deepEqual(parseQueueUrl("sqs://123456789012/name?endpoint=http://127.0.0.1:4566/"), {
      queueUrl: "http://127.0.0.1:4566/123456789012/name",
      region: "us-east-1",
      endpoint: "http://127.0.0.1:4566",
    });
  });

  for (const [written, why] of [
    ["ftp://host/a", /an http:\/\/, https:\/\/ or sqs:\/\/ URL/],
    ["sqs://123456789012/name", /names its region/],
    ["sqs://12/name?region=eu-west-1", /twelve digits/],
    ["sqs://123456789012/a/b?region=eu-west-1", /twelve digits/],
    ["sqs://123456789012/name.fifo?region=eu-west-1", /FIFO/],
    ["sqs://123456789012/name?regoin=eu-west-1", /region and endpoint may follow/],
    ["sqs://key:secret@123456789012/name?region=eu-west-1", /default chain/],
    ["sqs://123456789012/name?endpoint=http://u:p@host", /default chain/],
    ["sqs://123456789012/name?endpoint=host:1", /endpoint: an http/],
    ["sqs://123456789012/name?region=EU", /region: one such as/],
    ["https://sqs.eu-west-1.amazonaws.com/name", /twelve digits/],
    ["https://sqs.eu-west-1.amazonaws.com/123456789012/name.fifo", /FIFO/],
    ["https://sqs.eu-west-1.amazonaws.com/123456789012/name?x=1", /nothing may follow/],
  ] as const) {
    test(`is refused when it is ${written}`, () => {
      assert.throws(
        () => parseQueueUrl(written),
        (error) => isPageferryError(error, "bad-config") && why.test(error.message),
      );
    });
  }
});

suite("the URL of a staging bucket", () => {
  test("is a bucket, and where it is", () => {
    assert.deepEqual(parseStagingUrl(staging), { bucket: "stage-bucket" });
    assert.deepEqual(parseStagingUrl("s3://b-1/?region=eu-west-1&endpoint=https://s3.example:9000"), {
      ...{ bucket: "b-1", region: "eu-west-1", endpoint: "https://s3.example:9000" },
    });
  });

  for (const written of ["s3://bucket/prefix", "s3://Bucket", "https://bucket", "s3://k:s@bucket"]) {
    test(`is refused when it is ${written}`, () => {
      assert.throws(() => parseStagingUrl(written), { code: "bad-config" });
    });
  }
});

suite("a configuration with an SQS queue", () => {
  test("holds a bucket for what no message holds, and perhaps an API and a stage", () => {
    const queue = { url: sqs, staging, api: "https://api.example", token: "t", stage: "production" };
    assert.deepEqual(parseConfig({ queue }).queue, queue);
  });

  for (const [queue, why] of [
    [sqs, /queue\.staging is missing.*add `staging: s3:\/\/BUCKET`/],
    [{ url: sqs, staging, token: "t" }, /queue\.token is for queue\.api, which is missing/],
    [{ url: "http://h", staging }, /queue\.staging belongs to an SQS queue/],
    [{ url: "http://h", api: "http://a", stage: "s" }, /queue\.api belongs.*queue\.stage belongs/],
    [{ url: sqs, staging, stage: "a b" }, /queue\.stage: a stage's name is letters/],
    [{ url: sqs, staging: "s3://b/x" }, /queue\.staging: s3:\/\/BUCKET is expected/],
    [{ url: sqs, bucket: staging }, /queue: bucket is not a known key/],
  ] as const) {
    test(`is refused: ${why.source}`, () => {
      assert.match(messageOf({ queue }), why);
    });
  }

  test("is told where a key belongs that stands beside it", () => {
    assert.match(
      messageOf({ queue: sqs, staging }),
      /staging is not a known key; the nearest is queue\.staging/,
    );
  });

  test("never repeats a secret that was written into a URL", () => {
    for (const queue of [
      "sqs://key:hush@123456789012/name?region=eu-west-1",
      { url: sqs, staging: "s3://key:hush@bucket" },
      { url: sqs, staging, token: "hush" },
      { url: sqs, staging, api: "ftp://hush" },
    ]) {
      assert.doesNotMatch(messageOf({ queue }), /hush/);
    }
  });
});
