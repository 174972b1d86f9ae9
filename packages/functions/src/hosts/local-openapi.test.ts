import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { historyOf } from "../../testing/history.ts";
import { scopes } from "../scopes.ts";
import { createToken } from "../token-files.ts";
import { localHost } from "./local.ts";

interface Operation {
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly responses: Readonly<Record<string, unknown>>;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
  }[];
}

interface Called {
  readonly name: string;
  readonly method: string;
  /** With parameters still in it. */
  readonly template: string;
  readonly path: string;
  readonly lets: readonly string[];
  readonly documented: readonly string[];
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

const values: Readonly<Record<string, string>> = {
  database: "app",
  digest: "ab".repeat(32),
  name: "a1/segments/x",
};

const fill = (template: string, given: Readonly<Record<string, string>>): string =>
  template.replace(/\{(\w+)\}/g, (_, name: string) => given[name] ?? "");

/** What a call cannot do without, or would take long without. */
const queryOf = (template: string, isAsked: boolean): string =>
  template.endsWith("/wait") ? "?timeout=0s" : isAsked ? "?database=app" : "";

/** A host with one database, over a socket; paths are sent as they are written. */
async function start(t: TestContext) {
  const dataDir = await mkdtemp(join(tmpdir(), "pageferry-openapi-"));
  const unexpected: unknown[] = [];
  const logger = {
    info: () => undefined,
    warn: () => undefined,
    error: (fields: object) => unexpected.push(fields),
  };
  const host = await localHost(
    { dataDir, listen: { host: "127.0.0.1", port: 0 }, inspect: true },
    { settleMs: 50, logger },
  );
  t.after(async () => {
    await host.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  const port = new URL(host.url ?? "").port;
  const ask = (
    method: string,
    path: string,
    headers: Readonly<Record<string, string>> = {},
    body = "",
    localAddress = "127.0.0.1",
  ) =>
    new Promise<Answer>((resolve, reject) => {
      const length = method === "GET" || method === "HEAD" ? {} : { "content-length": String(body.length) };
      const call = request(
        { host: "127.0.0.1", localAddress, port, method, path, headers: { ...length, ...headers } },
        (answer) => {
          const chunks: Buffer[] = [];
          // A stream goes on for as long as it is listened to.
          if (answer.headers["content-type"]?.startsWith("text/event-stream")) {
            resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: "{}" });
            answer.destroy();
            return;
          }
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.on("end", () =>
            resolve({
              status: answer.statusCode ?? 0,
              headers: answer.headers,
              body: Buffer.concat(chunks).toString(),
            }),
          );
        },
      );
      call.on("error", reject);
      call.end(body);
    });
  const bearer = { authorization: `Bearer ${host.token}` };
  const history = historyOf("a1");
  await host.queue.send(history.envelope([history.segment(4, 5)]));
  const { paths } = JSON.parse((await ask("GET", "/openapi.json")).body) as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  };
  const calls = Object.entries(paths).flatMap(([template, item]) =>
    Object.entries(item).map(([method, { security, parameters = [], responses }]): Called => {
      const isAsked = parameters.some(
        ({ name, in: where, required }) => where === "query" && name === "database" && required,
      );
      return {
        ...{ name: `${method} ${template}`, method: method.toUpperCase(), template },
        path: `${fill(template, values)}${queryOf(template, isAsked)}`,
        lets: security.flatMap(({ bearer: asked = [] }) => asked),
        documented: Object.keys(responses),
      };
    }),
  );
  return { host, dataDir, ask, bearer, calls, unexpected };
}

const codeOf = ({ body }: Answer): string => (JSON.parse(body) as { readonly code: string }).code;

suite("every operation of the document", () => {
  test("answers 401 without a token, and 403 to one that has each other scope", async (t) => {
    const { dataDir, ask, calls } = await start(t);
    const guarded = calls.filter(({ lets }) => lets.length > 0);
    const tokens: Record<string, string> = {};
    for (const scope of scopes) {
      const { token } = await createToken(dataDir, { scopes: [scope], databases: "*" }, Date.now());
      tokens[scope] = token;
    }
    assert.ok(guarded.length >= 16 && guarded.length < 250);

    // Each from an address of its own: who comes too often without a token is told to wait instead.
    for (const [at, { name, method, path }] of guarded.entries()) {
      const answer = await ask(method, path, {}, "", `127.0.1.${at + 1}`);
      assert.deepEqual([answer.status, codeOf(answer)], [401, "unauthorized"], name);
    }
    for (const { name, method, path, lets } of guarded) {
      for (const scope of scopes) {
        const answer = await ask(method, path, { authorization: `Bearer ${tokens[scope]}` });
        assert.equal(answer.status === 403, !lets.includes(scope), `${name} with ${scope}: ${answer.status}`);
      }
    }
  });

  test("lets nobody out of its path, and answers as the document says", async (t) => {
    const { ask, bearer, calls, unexpected, host } = await start(t);
    const hostile = [
      ...[
        "..",
        "../..",
        "%2e%2e",
        "..%2f..%2ftoken",
        "%2e%2e%2f%2e%2e%2ftoken",
        "....//",
        "..%5c..",
        "a%00b",
      ],
      ...[
        "%2fetc%2fpasswd",
        "C:%5c",
        "%zz",
        "%ff%fe",
        "%c0%ae%c0%ae%2f",
        "a%0d%0ax-evil:1",
        "x".repeat(3000),
      ],
    ];
    const withParams = calls.filter(({ template, lets }) => template.includes("{") && lets.length > 0);
    assert.ok(withParams.length >= 12);

    for (const { name, method, template, documented } of withParams) {
      for (const [, param = ""] of template.matchAll(/\{(\w+)\}/g)) {
        for (const value of hostile) {
          const path = `${fill(template, { ...values, [param]: value })}${queryOf(template, false)}`;
          const answer = await ask(method, path, { ...bearer, "content-type": "application/cbor" });
          const what = `${name} ${param}=${value.slice(0, 40)}: ${answer.status} ${answer.body.slice(0, 200)}`;
          // Dots may lead to another path of the API, or to the page, before it is asked: what then answers is no file.
          assert.ok(answer.status >= 400 || /^([{ ]|<!doctype html>)/.test(answer.body), what);
          assert.ok(answer.status < 500 && answer.status !== 403, what);
          if (!value.includes("/"))
            assert.ok([...documented, "404", "405"].includes(String(answer.status)), what);
          assert.equal(answer.headers["x-evil"], undefined, what);
          assert.ok(!answer.body.includes(host.token), what);
        }
      }
    }
    assert.deepEqual(unexpected, []);
  });

  test("takes no body that is packed", async (t) => {
    const { ask, bearer, calls } = await start(t);
    const writing = calls.filter(({ method }) => method !== "GET");

    for (const { name, method, path } of writing) {
      for (const packed of [{ "content-encoding": "gzip" }, { "content-encoding": "br, zstd" }]) {
        const answer = await ask(
          method,
          path,
          { ...bearer, "content-type": "application/cbor", ...packed },
          "x",
        );
        assert.deepEqual([answer.status, codeOf(answer)], [415, "unsupported-media"], name);
      }
    }
  });

  test("knows the ways of HTTP: another method is told which there are, and HEAD is GET without a body", async (t) => {
    const { ask, bearer, calls } = await start(t);

    for (const { name, template, path } of calls) {
      const answer = await ask("PATCH", path, bearer);
      const methods = calls.filter((call) => call.template === template).map(({ method }) => method);
      const allow = [...methods, ...(methods.includes("GET") ? ["HEAD"] : [])].sort().join(", ");
      assert.deepEqual(
        [answer.status, answer.headers.allow, codeOf(answer)],
        [405, allow, "wrong-method"],
        name,
      );
    }
    for (const path of ["/healthz", "/openapi.json", "/docs/api", "/v1/databases", "/v1/databases/app"]) {
      const [head, got] = [await ask("HEAD", path, bearer), await ask("GET", path, bearer)];
      assert.deepEqual([head.status, head.body], [got.status, ""], path);
      assert.equal(head.headers["content-type"], got.headers["content-type"], path);
    }
  });

  test("is closed to other origins: no answer has a header that lets a page of theirs read it", async (t) => {
    const { ask, bearer, calls } = await start(t);
    const origin = { origin: "https://elsewhere.example" };
    const wish = {
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization",
    };

    for (const { name, method, path } of calls) {
      for (const answer of [
        await ask("OPTIONS", path, { ...origin, ...wish, ...bearer }),
        await ask(method, path, { ...origin, ...bearer }),
      ]) {
        const open = Object.keys(answer.headers).filter((header) => header.startsWith("access-control-"));
        assert.deepEqual(open, [], name);
      }
    }
    assert.equal((await ask("OPTIONS", "/v1/databases", { ...origin, ...wish })).status, 401);
    assert.equal((await ask("OPTIONS", "/v1/databases", { ...origin, ...wish, ...bearer })).status, 405);
  });
});

suite("a request's id", () => {
  test("is the caller's where it is one, or made, and stands in the answer and its problem", async (t) => {
    const { ask } = await start(t);
    const idOf = async (given?: string) => {
      const answer = await ask("GET", "/v1/databases", given === undefined ? {} : { "x-request-id": given });
      const { requestId } = JSON.parse(answer.body) as { readonly requestId: string };
      assert.equal(answer.headers["x-request-id"], requestId);
      return requestId;
    };

    assert.equal(await idOf("deploy-7.a_b"), "deploy-7.a_b");
    for (const none of [undefined, "", "a b", "<script>", "a".repeat(65)]) {
      const made = await idOf(none);
      assert.match(made, /^[A-Za-z0-9_-]{12}$/);
      assert.notEqual(made, await idOf(none));
    }
  });
});

suite("an answer that is asked for again and again", () => {
  test("has an ETag, and is 304 as long as nothing changed", async (t) => {
    const { ask, bearer, host } = await start(t);
    const history = historyOf("a1");

    for (const path of ["/openapi.json", "/docs/api", "/v1/databases/app/points"]) {
      const { status, headers } = await ask("GET", path, bearer);
      assert.equal(status, 200);
      const etag = String(headers.etag);
      for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
        const again = await ask("GET", path, { ...bearer, "if-none-match": known });
        assert.deepEqual([again.status, again.body, again.headers.etag], [304, "", etag], `${path} ${known}`);
      }
      assert.equal((await ask("GET", path, { ...bearer, "if-none-match": '"other"' })).status, 200);
    }
    const before = await ask("GET", "/v1/databases", bearer);
    await host.queue.send(history.envelope([history.segment(5, 6)]));
    const after = await ask("GET", "/v1/databases", {
      ...bearer,
      "if-none-match": String(before.headers.etag),
    });
    assert.equal(after.status, 200);
    assert.match(String(before.headers["cache-control"]), /private/);
  });
});
