import assert from "node:assert/strict";
import { connect } from "node:net";
import { suite, type TestContext, test } from "node:test";
import { listen } from "./local-server.ts";

const timeouts = { headersMs: 300, idleMs: 1500, keepAliveMs: 400 };

/** A server that notes what it is asked, with short times; and a line to it. */
async function serve(t: TestContext) {
  const asked: string[] = [];
  const fetch = async (request: Request): Promise<Response> => {
    asked.push(`${request.method} ${new URL(request.url).pathname}`);
    return new Response(await request.text());
  };
  const server = await listen(fetch, { host: "127.0.0.1", port: 0 }, timeouts);
  t.after(() => server.close(0));
  const port = Number(new URL(server.url).port);
  /** Sends this as it stands, and gives what came until the line ended. */
  const send = (text: string, then?: (write: (more: string) => void) => () => void) =>
    new Promise<string>((resolve) => {
      const line = connect(port, "127.0.0.1", () => line.write(text));
      const stop = then?.((more) => line.writable && line.write(more));
      const chunks: Buffer[] = [];
      line.on("data", (chunk) => chunks.push(chunk));
      line.on("error", () => undefined);
      line.on("close", () => {
        stop?.();
        resolve(Buffer.concat(chunks).toString());
      });
    });
  return { asked, send };
}

const post = (...headers: readonly string[]) =>
  ["POST /first HTTP/1.1", "host: x", ...headers, "", ""].join("\r\n");

/** What would be the next request, if the body of the one before were read in another way. */
const smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

const ambiguous: Readonly<Record<string, string>> = {
  "a length and chunks": `${post("content-length: 5", "transfer-encoding: chunked")}0\r\n\r\n${smuggled}`,
  "chunks and a length": `${post("transfer-encoding: chunked", "content-length: 4")}0\r\n\r\n${smuggled}`,
  "two lengths": `${post("content-length: 0", `content-length: ${smuggled.length}`)}${smuggled}`,
  "two equal lengths": `${post("content-length: 5", "content-length: 5")}abcde${smuggled}`,
  "a list of lengths": `${post("content-length: 5, 5")}abcde${smuggled}`,
  "a length with a sign": `${post("content-length: +5")}abcde${smuggled}`,
  "a folded header": `${post("x-a: b\r\n content-length: 5")}abcde${smuggled}`,
  "a space before the colon": `${post("transfer-encoding : chunked")}0\r\n\r\n${smuggled}`,
  "chunks that are none": `${post("transfer-encoding: xchunked")}0\r\n\r\n${smuggled}`,
  "chunks, and then not": `${post("transfer-encoding: chunked", "transfer-encoding: identity")}0\r\n\r\n${smuggled}`,
  "two hosts": `${post("content-length: 0", "Host: y")}${smuggled}`,
  "two equal hosts": `${post("content-length: 0", "host: x")}${smuggled}`,
  "two hosts and no body": `GET /first HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n${smuggled}`,
  "a zero byte": `${post("x-a: b\0c")}${smuggled}`,
  "bare line feeds": `POST /first HTTP/1.1\nhost: x\n\n${smuggled}`,
  "no HTTP": `\x16\x03\x01\x00\xa5hello\r\n\r\n${smuggled}`,
};

suite("the host's server", () => {
  test("refuses what two servers could read in two ways, and takes nothing of it for a request", async (t) => {
    const { asked, send } = await serve(t);

    for (const [what, text] of Object.entries(ambiguous)) {
      const [head = "", body = ""] = (await send(text)).split("\r\n\r\n");
      assert.match(head, /^HTTP\/1\.1 400 Bad Request\r\n/, what);
      assert.match(head, /connection: close/, what);
      const problem = JSON.parse(body) as { readonly code: string; readonly requestId: string };
      assert.equal(problem.code, "bad-request", what);
      assert.ok(head.includes(`x-request-id: ${problem.requestId}`), what);
    }
    assert.deepEqual(
      asked.filter((call) => call.includes("smuggled")),
      [],
    );
  });

  test("refuses headers and addresses above 16 KiB, and more headers than anybody needs", async (t) => {
    const { asked, send } = await serve(t);
    const many = Array.from({ length: 3000 }, (_, at) => `x${at}: 1`);

    for (const text of [
      post(`x-a: ${"a".repeat(20_000)}`),
      post(...many),
      `GET /${"a".repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
    ]) {
      const answer = await send(text);
      assert.match(answer, /^HTTP\/1\.1 431 /);
      assert.match(answer, /"code":"too-large"/);
    }
    assert.deepEqual(asked, []);
  });

  test("waits for headers no longer than it is set, however busily they come", async (t) => {
    const { asked, send } = await serve(t);
    const beganAtMs = performance.now();

    const answer = await send("GET / HTTP/1.1\r\nhost: x\r\nx-a: ", (write) => {
      const timer = setInterval(() => write("a"), 20);
      return () => clearInterval(timer);
    });

    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert.ok(performance.now() - beganAtMs < 5000);
    assert.deepEqual(asked, []);
  });

  test("gives up a line on which nothing moves: before a request, in a body, and after an answer", async (t) => {
    const { send } = await serve(t);

    assert.match(await send(""), /^HTTP\/1\.1 408 /);
    assert.doesNotMatch(await send(`${post("content-length: 10")}abc`), /^HTTP\/1\.1 200/);
    assert.match(await send(`${post("content-length: 3")}abc`), /^HTTP\/1\.1 200[\s\S]*abc$/);
  });
});
