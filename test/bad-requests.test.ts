// Bad input over HTTP, against a running host: coded problems, nothing outside its directory, and it keeps working.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { suite, test } from "node:test";
import { type Envelope, encodeEnvelope, parseDatabaseName, parseGeneration } from "@pageferry/format";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { runWriter } from "./go-apps.ts";
import { type Host, startUp } from "./pageferry.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const mb = 2 ** 20;

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A request whose path is sent as it is written: fetch would clean it. */
function ask(
  host: Host,
  token: string,
  method: string,
  path: string,
  body: Uint8Array | { readonly declared: number } | { readonly chunks: number } = new Uint8Array(),
): Promise<Answer> {
  const answer = Promise.withResolvers<Answer>();
  const declared = body instanceof Uint8Array ? body.length : "declared" in body ? body.declared : undefined;
  const outgoing = request({ host: "127.0.0.1", port: new URL(host.url).port, method, path }, (incoming) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      answer.resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
      outgoing.destroy();
    });
  });
  outgoing.setHeader("authorization", `Bearer ${token}`);
  outgoing.setHeader("content-type", "application/cbor");
  if (declared !== undefined) {
    outgoing.setHeader("content-length", declared);
  }
  outgoing.on("error", answer.reject);
  if (body instanceof Uint8Array) {
    outgoing.end(body);
  } else if ("chunks" in body) {
    for (let chunk = 0; chunk < body.chunks; chunk += 1) {
      outgoing.write(new Uint8Array(mb));
    }
    outgoing.end();
  } else {
    outgoing.flushHeaders();
  }
  return answer.promise;
}

function assertProblem(answer: Answer, statuses: readonly number[], what: string): void {
  assert.ok(statuses.includes(answer.status), `${what}: ${answer.status} ${answer.body.slice(0, 300)}`);
  const problem = JSON.parse(answer.body) as { readonly code?: string; readonly hint?: string };
  assert.equal(typeof problem.code, "string", what);
  assert.equal(typeof problem.hint, "string", what);
}

function envelopeWith(name: string): Envelope {
  return {
    database: parseDatabaseName("app"),
    begin: {
      generation: parseGeneration("00000000000000aa"),
      parent: null,
      reason: "first",
      epoch: 1,
      host: "elsewhere",
      pageSize: 4096,
    },
    sentAtMs: 1_700_000_000_000,
    newestTxId: null,
    newestStampMs: null,
    items: [{ name, bytes: Uint8Array.of(0xa0) }],
  };
}

const hostileNames = [
  "../../../evil",
  "/etc/evil",
  "00000000000000aa/segments/../../../../evil",
  "00000000000000aa/segments/\0evil",
  "00000000000000aa\\..\\evil",
  `00000000000000aa/segments/${"x".repeat(2000)}`,
  "token",
  "00000000000000bb/segments/0000000000000003-0000000000000003-018bcfe56800.segment.cbor",
  "",
];

/** Sends this as it stands, and gives what came until the line ended. */
function sendRaw(host: Host, text: string): Promise<string> {
  return new Promise((resolve) => {
    const line = connect(Number(new URL(host.url).port), "127.0.0.1", () => line.write(text));
    const chunks: Buffer[] = [];
    line.on("data", (chunk) => chunks.push(chunk));
    line.on("error", () => undefined);
    line.on("close", () => resolve(Buffer.concat(chunks).toString()));
  });
}

/** A server that nobody may be made to call, and who called it. */
async function openTrap() {
  const calls: string[] = [];
  const server = createServer((incoming, outgoing) => {
    calls.push(incoming.url ?? "");
    outgoing.end();
  });
  server.on("connection", () => calls.push("connection"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const close = async (): Promise<void> => void server.close();
  return { calls, port: address.port, [Symbol.asyncDispose]: close };
}

suite("a host that is sent nonsense", () => {
  test("takes no request with two Host headers, and nothing that stands behind one", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 5 });
    await using host = await startUp([path], { dataDir: directory.file("data") });
    const authorization = `authorization: Bearer ${await host.token()}`;
    const get = (...headers: readonly string[]) =>
      ["GET /v1/databases HTTP/1.1", authorization, ...headers, "", ""].join("\r\n");
    const behind = get("host: a", "connection: close");

    for (const hosts of [
      ["host: a", "host: b"],
      ["Host: a", "HOST: a"],
      ["host: a", "x-between: 1", "Host: 127.0.0.1"],
    ]) {
      const answer = await sendRaw(host, `${get(...hosts)}${behind}`);
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(answer, /"code":"bad-request".*more than one Host/);
      assert.equal(answer.split("HTTP/1.1 ").length, 2, answer);
    }
    assert.match(await sendRaw(host, behind), /^HTTP\/1\.1 200 OK/);
  });

  test("calls no place that a request names: replicas are those of the configuration", async () => {
    await using directory = await temporaryDirectory();
    await using trap = await openTrap();
    const path = directory.file("app.db");
    await runWriter({ path, count: 5 });
    await using host = await startUp([path], { dataDir: directory.file("data") });
    const token = await host.token();
    const places = [
      `http://127.0.0.1:${trap.port}/x`,
      `s3://bucket/x?endpoint=http://127.0.0.1:${trap.port}&region=x&forcePathStyle=true`,
      `nats://127.0.0.1:${trap.port}/bucket`,
      `sftp://u:p@127.0.0.1:${trap.port}/x`,
      "file:///etc",
    ];

    for (const place of places) {
      const query = new URLSearchParams({ replica: place });
      for (const [method, call] of [
        ["GET", "points"],
        ["GET", "manifest"],
        ["GET", "restore"],
        ["GET", "objects/x"],
        ["POST", "repair"],
        ["POST", "verify"],
        ["POST", "compact"],
        ["POST", "prune"],
      ] as const) {
        const answer = await ask(host, token, method, `/v1/databases/app/${call}?${query}`);
        assert.match(answer.body, /"code":"(not-found|bad-request)"/, `${call} ${place}: ${answer.body}`);
      }
    }
    assert.deepEqual(trap.calls, []);
  });

  test("refuses it with a code and a hint, writes nothing elsewhere, and keeps working", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 30 });
    await using host = await startUp([path], {
      dataDir: directory.file("data"),
      args: ["--sync-interval", "50ms"],
    });
    const token = await host.token();
    await until("a first object", async () => (await newestStored(host.replica("app"))) > 0);
    const listAll = async () =>
      (await readdir(directory.path, { recursive: true })).filter((name) => /evil/.test(name));

    for (const name of hostileNames) {
      const answer = await ask(host, token, "POST", "/v1/ingest", encodeEnvelope(envelopeWith(name)));
      assertProblem(answer, [400, 413, 422, 502], `ingest of ${JSON.stringify(name.slice(0, 60))}`);
    }
    for (const bytes of [new Uint8Array(), Uint8Array.of(0xff), Buffer.from("{}"), new Uint8Array(1000)]) {
      assertProblem(await ask(host, token, "POST", "/v1/ingest", bytes), [400, 422, 502], "no envelope");
    }
    for (const object of ["..%2f..%2ftoken", "../../../token", "%2e%2e/%2e%2e/token", "%00", "a%5c..%5cb"]) {
      const answer = await ask(host, token, "GET", `/v1/databases/app/objects/${object}`);
      assertProblem(answer, [400, 404], `object ${object}`);
      assert.doesNotMatch(answer.body, new RegExp(token));
    }
    for (const database of ["..", "%2e%2e", "..%2f..", "a%00b", "x".repeat(65), "-app"]) {
      const answer = await ask(host, token, "GET", `/v1/databases/${database}/points`);
      assertProblem(answer, [400, 404], `database ${database}`);
    }
    for (const query of [
      "txid=zebra",
      "timestamp=yesterday",
      "generation=..",
      "txid=1&timestamp=2020-01-01T00:00:00Z",
    ]) {
      assertProblem(await ask(host, token, "GET", `/v1/databases/app/manifest?${query}`), [400], query);
    }

    assert.deepEqual(await listAll(), []);
    await runWriter({ path, count: 5, seed: 2 });
    const last = await newestTxId(path);
    await until("it still works", async () => (await newestStored(host.replica("app"))) === last);
  });

  test("refuses bodies over the limit before it has read them, with or without a length", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 30 });
    await using host = await startUp([path], { dataDir: directory.file("data") });
    const token = await host.token();
    const body = new Uint8Array(1000);
    const digest = createHash("sha256").update(body).digest("hex");
    const otherDigest = "ab".repeat(32);

    const declared = await ask(host, token, "POST", "/v1/ingest", { declared: 2 ** 40 });
    const chunked = await ask(host, token, "POST", "/v1/ingest", { chunks: 40 });
    const staged = await ask(host, token, "PUT", `/v1/stage/${digest}?database=app`, { declared: 2 ** 52 });
    const wrong = await ask(host, token, "PUT", `/v1/stage/${otherDigest}?database=app`, body);
    const noDigest = await ask(host, token, "PUT", "/v1/stage/..%2f..%2fevil?database=app", body);
    const good = await ask(host, token, "PUT", `/v1/stage/${digest}?database=app`, body);
    const again = await ask(host, token, "PUT", `/v1/stage/${digest}?database=app`, body);

    assertProblem(declared, [413], "a declared length");
    assertProblem(chunked, [413], "chunks");
    assertProblem(staged, [413, 507], "a staged body");
    assertProblem(wrong, [422], "another digest");
    assertProblem(noDigest, [400, 404], "no digest");
    assert.deepEqual([good.status, again.status], [201, 200]);
    assert.equal(host.isRunning(), true);
  });

  test("gives nothing away without a token", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 5 });
    await using host = await startUp([path], { dataDir: directory.file("data") });

    for (const [method, where] of [
      ["POST", "/v1/ingest"],
      ["POST", "/v1/heartbeats"],
      ["PUT", `/v1/stage/${"ab".repeat(32)}?database=app`],
      ["GET", "/v1/databases"],
      ["GET", "/v1/databases/app"],
      ["GET", "/v1/databases/app/needs"],
      ["GET", "/v1/databases/app/points"],
      ["GET", "/v1/databases/app/manifest"],
    ] as const) {
      assertProblem(await ask(host, "guess", method, where), [401], `${method} ${where}`);
    }
    assert.equal((await ask(host, "guess", "GET", "/healthz")).status, 200);
  });
});
