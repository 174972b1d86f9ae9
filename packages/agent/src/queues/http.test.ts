import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { PageferryError } from "@pageferry/format";
import { retryAfterMsOf, type StagedBody } from "../queue.ts";
import { createHttpQueue } from "./http.ts";

interface Answering extends AsyncDisposable {
  readonly url: string;
}

async function answering(listener: RequestListener): Promise<Answering> {
  const server = createServer(listener);
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((settle) => server.close(settle));
    },
  };
}

function always(status: number, headers: Record<string, string> = {}, body = ""): RequestListener {
  return (request, response) => {
    request.resume();
    response.writeHead(status, headers);
    response.end(body);
  };
}

async function failureOf(attempt: Promise<unknown>): Promise<PageferryError> {
  try {
    await attempt;
  } catch (error) {
    assert.ok(error instanceof PageferryError, String(error));
    return error;
  }
  return assert.fail("it succeeded");
}

function bodyOf(chunks: readonly Uint8Array[]): StagedBody {
  const bytes = Buffer.concat(chunks);
  return {
    digest: createHash("sha256").update(bytes).digest("hex"),
    size: bytes.length,
    async *open() {
      yield* chunks;
    },
  };
}

suite("the queue over HTTP", () => {
  test("posts an envelope with its token, and is done when the host took it", async () => {
    const seen: unknown[] = [];
    await using host = await answering((request, response) => {
      request.on("data", (bytes) => seen.push(bytes));
      request.on("end", () => {
        seen.push(
          request.method,
          request.url,
          request.headers.authorization,
          request.headers["content-type"],
        );
        response.writeHead(202).end();
      });
    });

    await createHttpQueue({ url: `${host.url}/below/`, token: "t" }).send(Buffer.from("envelope"));

    assert.deepEqual(seen, [
      Buffer.from("envelope"),
      "POST",
      "/below/v1/ingest",
      "Bearer t",
      "application/cbor",
    ]);
  });

  test("streams a staged body with its length", async () => {
    const chunks = Array.from({ length: 20 }, (_, index) => Buffer.alloc(100_000, index));
    const body = bodyOf(chunks);
    let digest = "";
    let length: string | undefined;
    await using host = await answering((request, response) => {
      const hash = createHash("sha256");
      request.on("data", (bytes) => hash.update(bytes));
      request.on("end", () => {
        digest = hash.digest("hex");
        length = request.headers["content-length"];
        response.writeHead(201).end();
      });
    });

    await createHttpQueue({ url: host.url }).stage("app", body);

    assert.deepEqual([digest, length], [body.digest, String(body.size)]);
  });

  test("takes the answer of a host that has the staged body and does not read it again", async () => {
    await using host = await answering((_, response) => response.writeHead(200).end());

    await createHttpQueue({ url: host.url }).stage("app", bodyOf(Array(50).fill(Buffer.alloc(1_000_000))));
  });

  test("gives each answer the code that says what can be done", async () => {
    const cases = [
      [400, "bad-request"],
      [401, "unauthorized"],
      [403, "forbidden"],
      [404, "not-found"],
      [409, "conflict"],
      [413, "too-large"],
      [422, "corrupt"],
      [200, "unavailable"],
      [204, "unavailable"],
      [302, "bad-config"],
      [408, "unavailable"],
      [429, "unavailable"],
      [500, "unavailable"],
      [503, "unavailable"],
    ] as const;
    for (const [status, code] of cases) {
      await using host = await answering(always(status));
      const error = await failureOf(createHttpQueue({ url: host.url }).send(new Uint8Array(1)));
      assert.deepEqual([status, error.code], [status, code]);
    }
  });

  test("takes the code and the hint that a host gives, but no code that would repeat what is refused", async () => {
    await using fork = await answering(
      always(409, {}, '{"code":"fork","detail":"two of them","hint":"Stop one."}'),
    );
    await using odd = await answering(always(409, {}, '{"code":"unavailable"}'));
    await using full = await answering(always(507, { "retry-after": "7" }, '{"code":"disk-full"}'));
    const [first, second, third] = await Promise.all(
      [fork, odd, full].map(({ url }) => failureOf(createHttpQueue({ url }).send(new Uint8Array(1)))),
    );

    assert.deepEqual([first?.code, first?.hint], ["fork", "Stop one."]);
    assert.match(first?.message ?? "", /two of them/);
    assert.equal(second?.code, "conflict");
    assert.deepEqual([third?.code, retryAfterMsOf(third)], ["disk-full", 7000]);
  });

  test("hands on when to come again, as seconds or as a date", async () => {
    const nowMs = Date.parse("2026-01-02T03:04:05Z");
    const cases = [
      ["12", 12_000],
      ["Fri, 02 Jan 2026 03:04:35 GMT", 30_000],
      ["Fri, 02 Jan 2026 03:04:00 GMT", 0],
      ["soon", 5000],
    ] as const;
    for (const [header, expectedMs] of cases) {
      await using host = await answering(always(503, { "retry-after": header }));
      const queue = createHttpQueue({ url: host.url, now: () => nowMs });
      assert.equal(retryAfterMsOf(await failureOf(queue.send(new Uint8Array(1)))), expectedMs, header);
    }
  });

  test("never says its token, not even when the host does", async () => {
    const token = "s3cret-token";
    await using host = await answering(
      always(401, {}, JSON.stringify({ detail: `${token}?`, hint: `use ${token}` })),
    );

    const error = await failureOf(createHttpQueue({ url: host.url, token }).send(new Uint8Array(1)));

    assert.ok(!`${error.message} ${error.hint} ${error.stack}`.includes(token));
  });

  test("reads no endless answer", async () => {
    await using host = await answering((request, response) => {
      request.resume();
      response.writeHead(500);
      const pour = () => {
        while (response.write(Buffer.alloc(65_536, 32)));
      };
      response.on("drain", pour);
      pour();
    });
    await using babbling = await answering((_, response) => {
      response.writeHead(200);
      const pour = () => {
        while (response.write(Buffer.alloc(65_536, 32)));
      };
      response.on("drain", pour);
      pour();
    });

    assert.equal(
      (await failureOf(createHttpQueue({ url: host.url }).send(new Uint8Array(1)))).code,
      "unavailable",
    );
    assert.equal((await failureOf(createHttpQueue({ url: babbling.url }).needs("app"))).code, "unavailable");
  });

  test("gives up on a host that does not answer, and on a body that stands still", async () => {
    await using host = await answering((request) => request.resume());
    const queue = createHttpQueue({ url: host.url, timeoutMs: 50, stallMs: 50 });
    const stalling: StagedBody = {
      ...bodyOf([Buffer.alloc(10)]),
      async *open() {
        yield Buffer.alloc(5);
        await setTimeout(500);
        yield Buffer.alloc(5);
      },
    };

    assert.equal((await failureOf(queue.send(new Uint8Array(1)))).code, "unavailable");
    assert.equal((await failureOf(queue.stage("app", stalling))).code, "unavailable");
  });

  test("ends with the reason of its caller's signal", async () => {
    await using host = await answering((request) => request.resume());
    const controller = new AbortController();
    const sending = createHttpQueue({ url: host.url }).send(new Uint8Array(1), { signal: controller.signal });

    controller.abort(new RangeError("enough"));

    await assert.rejects(sending, RangeError);
  });

  test("is unavailable where nobody listens", async () => {
    const host = await answering(always(200));
    await host[Symbol.asyncDispose]();

    const error = await failureOf(createHttpQueue({ url: host.url }).send(new Uint8Array(1)));

    assert.deepEqual([error.code, /ECONNREFUSED/.test(error.message)], ["unavailable", true]);
  });

  test("reads what the host needs, and passes over a page that is not that", async () => {
    const needs = { version: 1, newestEpoch: 3, generations: {} };
    await using host = await answering(always(200, {}, JSON.stringify(needs)));
    await using proxy = await answering(always(200, {}, "<html>sign in</html>"));

    assert.deepEqual(await createHttpQueue({ url: host.url }).needs("app"), needs);
    assert.equal((await failureOf(createHttpQueue({ url: proxy.url }).needs("app"))).code, "unavailable");
  });

  test("refuses a token that no header can hold, without saying it", () => {
    assert.throws(
      () => createHttpQueue({ url: "http://host", token: "secret\n" }),
      (error: PageferryError) => error.code === "bad-config" && !error.message.includes("secret"),
    );
  });

  test("refuses URLs that are none, or that hold a password", () => {
    for (const url of ["ftp://x", "nonsense", "http://user:pass@host", "http://host/?token=x"]) {
      assert.throws(
        () => createHttpQueue({ url }),
        (error: PageferryError) => error.code === "bad-config" && !error.message.includes("pass"),
      );
    }
  });
});
