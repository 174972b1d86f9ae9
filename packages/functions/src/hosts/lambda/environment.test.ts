import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { makeToken } from "../../tokens.ts";
import { readEnvironment } from "./environment.ts";

const laneUrl = "https://sqs.eu-central-1.amazonaws.com/123456789012/lane";
const complete = {
  PAGEFERRY_CONFIG: JSON.stringify({
    databases: [{ name: "orders", path: "orders" }],
    replicas: ["s3://backups", "nats://user:${NATS_PASSWORD}@nats.internal/backups"],
    retention: { keepDaily: 30 },
  }),
  NATS_PASSWORD: "hunter22",
  PAGEFERRY_DEPLOY_STAGE: "production",
  PAGEFERRY_STAGE_BUCKET: "orders-stage",
  PAGEFERRY_QUEUE_URL: "https://sqs.eu-central-1.amazonaws.com/123456789012/ingest",
  PAGEFERRY_LANES: JSON.stringify({ "s3://backups": laneUrl }),
  PAGEFERRY_DEAD_LETTERS: JSON.stringify({ ingest: `${laneUrl}-dead` }),
};

test("a complete environment is read, with its secrets filled in from their own variables", () => {
  const environment = readEnvironment(complete);
  assert.equal(environment.deployStage, "production");
  assert.equal(environment.stageBucket, "orders-stage");
  assert.deepEqual([...environment.laneUrls], [["s3://backups", laneUrl]]);
  assert.deepEqual([...environment.deadLetterUrls.keys()], ["ingest"]);
  assert.deepEqual(
    environment.config.databases.map(({ name }) => name),
    ["orders"],
  );
  assert.match(JSON.stringify(environment.config.replicas), /hunter22/);
  assert.equal(environment.senders, undefined);
  assert.equal(environment.endpoint, undefined);
  assert.deepEqual(environment.tokens, []);
});

test("a deployment that names no databases is for many, not in the Go implementation's form", () => {
  const config = JSON.stringify({ replicas: ["s3://backups"] });
  assert.equal(readEnvironment({ ...complete, PAGEFERRY_CONFIG: config }).config.isGoForm, false);
});

test("what is missing or does not parse is named by its variable", () => {
  const broken: readonly (readonly [string, string | undefined, RegExp])[] = [
    ["PAGEFERRY_CONFIG", undefined, /^PAGEFERRY_CONFIG: is not set$/],
    ["PAGEFERRY_CONFIG", "{", /^PAGEFERRY_CONFIG: is no JSON$/],
    ["PAGEFERRY_CONFIG", '{"replica":[]}', /^PAGEFERRY_CONFIG: .*the nearest is replicas/],
    ["PAGEFERRY_CONFIG", "{}", /^PAGEFERRY_CONFIG: has no replicas$/],
    ["PAGEFERRY_DEPLOY_STAGE", undefined, /^PAGEFERRY_DEPLOY_STAGE: is not set$/],
    ["PAGEFERRY_STAGE_BUCKET", "No Bucket", /^PAGEFERRY_STAGE_BUCKET: /],
    ["PAGEFERRY_QUEUE_URL", "ingest", /^PAGEFERRY_QUEUE_URL: the URL of a queue is expected$/],
    ["PAGEFERRY_LANES", '{"s3://other":"https://x/y"}', /^PAGEFERRY_LANES: "s3:\/\/other" is none of s3:/],
    ["PAGEFERRY_LANES", "[]", /^PAGEFERRY_LANES: an object of queues' URLs is expected$/],
    ["PAGEFERRY_SENDERS", '{"AROA1:x":"*"}', /^PAGEFERRY_SENDERS: unique ids/],
    ["PAGEFERRY_TOKENS", '[{"version":1}]', /^PAGEFERRY_TOKENS\[0\]: /],
    ["PAGEFERRY_MANIFEST_KEY", "c2VjcmV0", /^PAGEFERRY_MANIFEST_KEY: is no Ed25519 private key/],
  ];
  for (const [name, value, message] of broken) {
    assert.throws(() => readEnvironment({ ...complete, [name]: value }), { code: "bad-config", message });
  }
});

test("an error repeats no secret", () => {
  const secret = "s3cr3t-of-somebody";
  const broken = {
    PAGEFERRY_CONFIG: `{"replicas": ["s3://key:${secret}@backups:80"]}`,
    PAGEFERRY_TOKENS: `[{"sha256": "${secret}"}]`,
    PAGEFERRY_MANIFEST_KEY: `-----BEGIN PRIVATE KEY-----\n${secret}`,
    PAGEFERRY_LANES: `${secret}{`,
    PAGEFERRY_STAGE_BUCKET: `${secret}!`,
    NATS_PASSWORD: `${secret}%`,
  };
  for (const [name, value] of Object.entries(broken)) {
    assert.throws(
      () => readEnvironment({ ...complete, [name]: value }),
      (error: Error & { code?: string }) =>
        error.code === "bad-config" && !JSON.stringify([error.message, String(error.cause)]).includes(secret),
      name,
    );
  }
});

test("a replica on a function's disk is refused: it is gone with the function", () => {
  const config = JSON.stringify({ replicas: ["file:///tmp/backups"] });
  assert.throws(() => readEnvironment({ ...complete, PAGEFERRY_LANES: "", PAGEFERRY_CONFIG: config }), {
    code: "bad-config",
    message: /file:\/\/\/tmp\/backups/,
  });
});

test("a replica in the bucket where staged bodies expire is refused", () => {
  const config = JSON.stringify({ replicas: ["s3://orders-stage/replica"] });
  assert.throws(() => readEnvironment({ ...complete, PAGEFERRY_LANES: "", PAGEFERRY_CONFIG: config }), {
    code: "bad-config",
    message: /orders-stage/,
  });
});

test("an environment above what a function takes is refused with its size", () => {
  const senders = Object.fromEntries(
    Array.from({ length: 200 }, (_, at) => [`AROAEXAMPLE${at}`, ["orders"]]),
  );
  assert.throws(() => readEnvironment({ ...complete, PAGEFERRY_SENDERS: JSON.stringify(senders) }), {
    code: "bad-config",
    message: /\d{4} bytes, a function takes 4096/,
  });
});

test("senders are bound to databases, tokens and the key for manifests are read", () => {
  const { record } = makeToken({ scopes: ["read"], databases: ["orders"] }, 0);
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  for (const key of [pem, Buffer.from(pem).toString("base64"), pem.split("\n")[1] ?? ""]) {
    const environment = readEnvironment({
      ...complete,
      PAGEFERRY_SENDERS: '{"AROAEXAMPLE": ["orders"], "AIDAEXAMPLE": "*"}',
      PAGEFERRY_TOKENS: JSON.stringify([record]),
      PAGEFERRY_MANIFEST_KEY: key,
      AWS_ENDPOINT_URL: "http://127.0.0.1:4566",
    });
    assert.deepEqual(environment.senders?.get("AROAEXAMPLE"), new Set(["orders"]));
    assert.equal(environment.senders?.get("AIDAEXAMPLE"), "*");
    assert.deepEqual(environment.tokens, [record]);
    assert.ok(environment.manifestKey?.equals(privateKey));
    assert.equal(environment.endpoint, "http://127.0.0.1:4566");
  }
});
