import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { isPageferryError } from "@pageferry/format";
import { openStore, type StoreBody } from "@pageferry/functions";
import { conformance } from "@pageferry/functions/conformance";
import { type S3StoreOptions, s3Store } from "@pageferry/functions/stores/s3";
import { type HttpProxy, s3Answer, startHttpProxy } from "../servers/http-proxy.ts";
import { startMinistack, withoutMinistack } from "../servers/ministack.ts";
import { type S3Admin, type S3Server, startS3, withoutS3Server } from "../servers/s3.ts";
import { until } from "../temporary.ts";

const mebibyte = 1024 * 1024;
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

async function namesIn(
  store: { list(prefix: string): AsyncIterable<{ readonly name: string }> },
  prefix = "",
) {
  return (await Array.fromAsync(store.list(prefix))).map(({ name }) => name);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A body as a stage gives it: opened as often as wanted, its digest known. */
function bodyOf(bytes: Buffer, sha256 = sha256Of(bytes)): Exclude<StoreBody, Uint8Array> {
  return {
    size: bytes.length,
    sha256,
    async *open() {
      for (let at = 0; at < bytes.length; at += mebibyte) yield bytes.subarray(at, at + mebibyte);
    },
  };
}

/** Runs the exported suite against a server that starts when its first test needs it. */
function conforms<Started extends S3Admin & AsyncDisposable>(
  name: string,
  skipped: string | false,
  start: () => Promise<Started>,
  options: Omit<Parameters<typeof conformance>[1], "open">,
): void {
  if (skipped !== false) {
    test(`the ${name} store`, { skip: skipped }, () => undefined);
    return;
  }
  let starting: Promise<Started> | undefined;
  after(async () => (await starting)?.[Symbol.asyncDispose]());
  conformance(name, {
    ...options,
    open: async () => {
      starting ??= start();
      const server = await starting;
      return s3Store(server.entry(await server.makeBucket()));
    },
  });
}

conforms("s3 (versitygw)", withoutS3Server, () => startS3(), {});
conforms("s3 (versitygw, TLS)", withoutS3Server, () => startS3({ tls: true }), {
  largeBytes: 12 * mebibyte,
  manyObjects: 200,
});
conforms("s3 (ministack)", withoutMinistack, () => startMinistack(), {
  largeBytes: 16 * mebibyte,
  manyObjects: 1100,
});

suite("an s3 store", { skip: withoutS3Server }, () => {
  let server: S3Server;
  let proxy: HttpProxy;
  before(async () => {
    server = await startS3();
    proxy = await startHttpProxy(server.endpoint);
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** A store over a new bucket, and the bucket. */
  async function open(more: Partial<S3StoreOptions> = {}, bucket?: string) {
    const made = bucket ?? (await server.makeBucket());
    return { bucket: made, store: s3Store({ ...server.entry(made), ...more }) };
  }

  /** The same through the proxy, whose rule is the test's until it ends. */
  async function openBehindProxy(rule: HttpProxy["rule"], more: Partial<S3StoreOptions> = {}) {
    const opened = await open({ endpoint: proxy.endpoint, ...more });
    proxy.rule = rule;
    const seen = proxy.requests.length;
    return {
      ...opened,
      requests: () => proxy.requests.slice(seen),
      async [Symbol.asyncDispose]() {
        proxy.rule = () => undefined;
        await opened.store.close();
      },
    };
  }

  const isPart = (path: string) => /[?&]partNumber=/.test(path);
  const isComplete = (method: string, path: string) => method === "POST" && /[?&]uploadId=/.test(path);
  const isPut = (method: string, path: string) => method === "PUT" && !isPart(path);

  test("says what is wrong with its keys before it connects", () => {
    const wrong: Partial<S3StoreOptions>[] = [
      { accessKey: "only" },
      { secretKey: "only" },
      { sessionToken: "only" },
      { endpoint: "ftp://host" },
      { endpoint: "https://host", insecure: true },
      { prefix: "a/../b" },
    ];

    for (const keys of wrong) assert.throws(() => s3Store({ bucket: "b", ...keys }), { code: "bad-config" });
  });

  test("keeps two prefixes of one bucket apart, and leaves out what is no name of ours", async () => {
    const { bucket, store } = await open({ prefix: "/one/" });
    await using other = s3Store({ ...server.entry(bucket), prefix: "one2" });
    await store.put("a", text("1"));
    await other.put("a", text("2"));
    await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: "one/folder/", Body: "" }));

    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "a", size: 1 }]);
    assert.deepEqual(await namesIn(other), ["a"]);
    assert.equal(store.name, `s3://${bucket}/one`);
    await assert.rejects(store.put("n".repeat(1022), text("x")), { code: "bad-name" });
    await store.close();
  });

  test("is opened by its URL, and takes keys from the environment", async () => {
    const bucket = await server.makeBucket();
    const { accessKey = "", secretKey = "" } = server.entry(bucket);
    process.env.AWS_ACCESS_KEY_ID = accessKey;
    process.env.AWS_SECRET_ACCESS_KEY = secretKey;

    try {
      await using store = await openStore(
        `s3://${bucket}/app?endpoint=${server.endpoint}&force-path-style=true`,
      );
      await store.put("a", text("x"));

      assert.deepEqual(await namesIn(store), ["a"]);
      assert.equal(store.name, `s3://${bucket}/app?endpoint=${server.endpoint}`);
    } finally {
      delete process.env.AWS_ACCESS_KEY_ID;
      delete process.env.AWS_SECRET_ACCESS_KEY;
    }
  });

  test("trusts a private authority that rootCAs names, and no other", async () => {
    await using secure = await startS3({ tls: true });
    const entry = secure.entry(await secure.makeBucket());
    await using trusted = s3Store(entry);
    await using stranger = s3Store({ ...entry, rootCAs: [] });
    await using lost = s3Store({ ...entry, rootCAs: ["/none/ca.pem"] });

    assert.equal(await trusted.put("a", randomBytes(3 * mebibyte)), "stored");

    await assert.rejects(stranger.put("b", text("x")), { code: "unauthorized", hint: /rootCAs/ });
    await assert.rejects(namesIn(stranger), { code: "unauthorized" });
    await assert.rejects(lost.put("b", text("x")), { code: "bad-config" });
    await using strange = s3Store({ ...entry, rootCAs: [import.meta.filename] });
    await assert.rejects(strange.put("b", text("x")), { code: "bad-config" });
  });

  test("calls wrong credentials unauthorized in every verb, and repeats none of them", async () => {
    const { bucket, store } = await open();
    await store.put("a", text("x"));
    for (const keys of [
      { secretKey: "a-wrong-secret" },
      { accessKey: "NOBODY-KNOWS", secretKey: "a-wrong-secret" },
    ]) {
      await using wrong = s3Store({ ...server.entry(bucket), ...keys });
      const isRefused = (error: unknown) => {
        assert.ok(isPageferryError(error, "unauthorized"), String(error));
        assert.doesNotMatch(`${error.message} ${error.hint} ${wrong.name}`, /a-wrong-secret|NOBODY/);
        return true;
      };

      await assert.rejects(wrong.put("b", text("x")), isRefused);
      await assert.rejects(wrong.put("c", Buffer.alloc(9 * mebibyte)), isRefused);
      await assert.rejects(wrong.get("a"), isRefused);
      await assert.rejects(wrong.get("a", { length: 0 }), isRefused);
      await assert.rejects(namesIn(wrong), isRefused);
      await assert.rejects(wrong.remove(["a"]), isRefused);
      await assert.rejects(wrong.replace("needs.json", text("x")), isRefused);
    }
    assert.deepEqual(await namesIn(store), ["a"]);
    await store.close();
  });

  test("waits for a bucket that is not there, and says how to make it", async () => {
    const { bucket, store } = await open({}, `late-${process.pid}`);
    const isMissing = { code: "unavailable", hint: /create-bucket --bucket late-/ };

    await assert.rejects(store.put("a", text("x")), isMissing);
    await assert.rejects(store.put("a", Buffer.alloc(9 * mebibyte)), isMissing);
    await assert.rejects(store.get("a"), isMissing);
    await assert.rejects(store.get("a", { length: 0 }), isMissing);
    await assert.rejects(namesIn(store), isMissing);
    await assert.rejects(store.remove(["a"]), isMissing);
    await assert.rejects(store.replace("needs.json", text("x")), isMissing);
    await server.makeBucket({}, bucket);

    assert.equal(await store.put("a", text("x")), "stored");
    await store.close();
  });

  suite("writes once", () => {
    test("with a condition on every put and on completing an upload, and none on what may be replaced", async () => {
      await using behind = await openBehindProxy(() => undefined);
      await behind.store.put("small", text("x"));
      await behind.store.put("large", Buffer.alloc(9 * mebibyte));
      await behind.store.replace("needs.json", text("x"));

      const conditions = behind
        .requests()
        .filter(({ method, path }) => isPut(method, path) || isComplete(method, path))
        .map(({ path, headers }) => `${path.replace(/^\/[^/]+\/|\?.*/g, "")} ${headers["if-none-match"]}`);
      assert.deepEqual(conditions, ["small *", "small *", "large *", "needs.json undefined"]);
    });

    test("again after a 409, and looks after a 412", async () => {
      let conflicts = 2;
      await using behind = await openBehindProxy(({ method, path }) =>
        (isPut(method, path) || isComplete(method, path)) && conflicts-- > 0
          ? { answer: s3Answer(409, "ConditionalRequestConflict") }
          : undefined,
      );

      assert.equal(await behind.store.put("a", text("x")), "stored");
      conflicts = 1;
      assert.equal(await behind.store.put("large", Buffer.alloc(9 * mebibyte)), "stored");

      assert.deepEqual(await namesIn(behind.store), ["a", "large"]);
      assert.deepEqual(await server.uploads(behind.bucket), []);
    });

    test("when another writer completes first: the same bytes are present, other bytes a conflict", async () => {
      const bytes = randomBytes(9 * mebibyte);
      let first = bytes;
      await using behind = await openBehindProxy(async ({ method, path }) => {
        if (!isComplete(method, path)) return undefined;
        const Key = path.replace(/^\/[^/]+\/|\?.*/g, "");
        await server.client.send(new PutObjectCommand({ Bucket: behind.bucket, Key, Body: first }));
        return undefined;
      });

      assert.equal(await behind.store.put("same", bodyOf(bytes)), "present");
      first = randomBytes(9 * mebibyte);
      await assert.rejects(behind.store.put("other", bodyOf(bytes)), { code: "conflict" });

      assert.deepEqual(await readAll(await behind.store.get("other")), first);
      assert.deepEqual(await server.uploads(behind.bucket), []);
    });

    for (const [what, size] of [
      ["a put", 1000],
      ["a put of some megabytes", 5 * mebibyte],
      ["completing an upload", 9 * mebibyte],
    ] as const) {
      test(`and finds its object when the answer to ${what} is lost`, async () => {
        const body = bodyOf(randomBytes(size));
        let losses = 1;
        await using behind = await openBehindProxy(({ method, path }) =>
          (isPut(method, path) || isComplete(method, path)) && losses-- > 0
            ? { loseAnswer: true }
            : undefined,
        );

        assert.equal(await behind.store.put("a", body), "present");

        assert.deepEqual(await Array.fromAsync(behind.store.list("")), [{ name: "a", size }]);
        assert.deepEqual(await server.uploads(behind.bucket), []);
      });
    }

    test("and calls it unavailable, with nothing left, when completing fails and nothing is stored", async () => {
      for (const answer of [
        s3Answer(500, "InternalError"),
        s3Answer(404, "NoSuchUpload"),
        // An answer that had to begin before the outcome was known.
        s3Answer(200, "InternalError"),
      ]) {
        await using behind = await openBehindProxy(({ method, path }) =>
          isComplete(method, path) ? { answer } : undefined,
        );

        await assert.rejects(behind.store.put("a", Buffer.alloc(9 * mebibyte)), { code: "unavailable" });

        assert.deepEqual(await namesIn(behind.store), []);
        assert.deepEqual(await server.uploads(behind.bucket), []);
      }
    });

    test("by looking first where a server overwrites in spite of the condition", async () => {
      await using behind = await openBehindProxy(async ({ method, path, headers }) => {
        if (!isPut(method, path) || headers["if-none-match"] === undefined) return undefined;
        const Key = path.replace(/^\/[^/]+\/|\?.*/g, "");
        await server.client.send(new DeleteObjectCommand({ Bucket: behind.bucket, Key }));
        return undefined;
      });
      await behind.store.put("first", text("shows what the server does"));

      await behind.store.put("a", text("one"));
      await assert.rejects(behind.store.put("a", text("two")), { code: "conflict" });
      assert.equal(await behind.store.put("a", text("one")), "present");
      assert.equal((await readAll(await behind.store.get("a"))).toString(), "one");
    });

    test("by looking first until a server has shown that it does not overwrite, and a 409 shows nothing", async () => {
      const { bucket, store } = await open();
      await store.put("small", text("one"));
      await store.put("middle", Buffer.alloc(mebibyte));
      await store.close();
      let conflicts = 1;
      await using behind = await openBehindProxy(
        async ({ method, path, headers }) => {
          if (!isPut(method, path) || headers["if-none-match"] === undefined) return undefined;
          if (path.includes("/c") && conflicts-- > 0)
            return { answer: s3Answer(409, "ConditionalRequestConflict") };
          const Key = path.replace(/^\/[^/]+\/|\?.*/g, "");
          await server.client.send(new DeleteObjectCommand({ Bucket: bucket, Key }));
          return undefined;
        },
        { bucket },
      );

      const other = Buffer.alloc(mebibyte, 1);
      assert.equal(await behind.store.put("c", Buffer.alloc(2 * mebibyte)), "stored");
      const outcomes = await Promise.allSettled([
        behind.store.put("small", text("two")),
        behind.store.put("middle", other),
      ]);

      assert.deepEqual(
        outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.code : outcome.value)),
        ["conflict", "conflict"],
      );
      assert.equal((await readAll(await behind.store.get("small"))).toString(), "one");
    });

    test("by looking first where a server knows no conditions", async () => {
      await using behind = await openBehindProxy(({ headers }) =>
        headers["if-none-match"] === undefined ? undefined : { answer: s3Answer(501, "NotImplemented") },
      );

      assert.equal(await behind.store.put("a", text("one")), "stored");
      assert.equal(await behind.store.put("a", text("one")), "present");
      await assert.rejects(behind.store.put("a", text("two")), { code: "conflict" });
      const large = bodyOf(randomBytes(9 * mebibyte));
      assert.equal(await behind.store.put("large", large), "stored");
      assert.equal(await behind.store.put("large", large), "present");
      assert.deepEqual(await server.uploads(behind.bucket), []);
    });
  });

  suite("sends a large body", () => {
    const size = 26 * mebibyte;

    test("in parts, and one whose line breaks again, without beginning anew", async () => {
      const bytes = randomBytes(size);
      let breaks = 2;
      await using behind = await openBehindProxy(({ path }) =>
        isPart(path) && breaks-- > 0 ? { reset: true } : undefined,
      );

      assert.equal(await behind.store.put("a", bodyOf(bytes)), "stored");

      const begun = behind
        .requests()
        .filter(({ method, path }) => method === "POST" && /\?uploads/.test(path));
      assert.equal(begun.length, 1);
      assert.equal(sha256Of(await readAll(await behind.store.get("a"))), sha256Of(bytes));
    });

    test("that it knows again without reading it, by the digest it carries, and by its bytes where there is none", async () => {
      const bytes = randomBytes(size);
      await using behind = await openBehindProxy(() => undefined);
      const read = () => behind.requests().filter(({ path }) => path.includes("x-id=GetObject")).length;
      const plain = { size, open: bodyOf(bytes).open };
      await behind.store.put("a", bodyOf(bytes));

      assert.equal(await behind.store.put("a", bodyOf(bytes)), "present");
      assert.equal(read(), 0);
      assert.equal(await behind.store.put("a", plain), "present");
      assert.equal(read(), 1);
      const other = Buffer.from(bytes);
      other[size - 1] = (other[size - 1] ?? 0) ^ 1;
      await assert.rejects(behind.store.put("a", bodyOf(other)), { code: "conflict" });
      await assert.rejects(behind.store.put("a", { size, open: bodyOf(other).open }), { code: "conflict" });
    });

    test("of which nothing is left, and nothing was ever seen, when it breaks, lies or is aborted", async () => {
      const { bucket, store } = await open();
      const bytes = randomBytes(size);
      const good = bodyOf(bytes);
      const abort = new AbortController();
      const reason = new Error("enough");
      const broken = {
        size,
        async *open() {
          yield bytes.subarray(0, 20 * mebibyte);
          throw new RangeError("the disk it came from");
        },
      };
      const aborted = {
        size,
        async *open() {
          yield bytes.subarray(0, 20 * mebibyte);
          // Not at the end: what a server was asked to complete it may complete, whoever still waits.
          setTimeout(() => abort.abort(reason), 40);
          await once(abort.signal, "abort");
          yield bytes.subarray(20 * mebibyte);
        },
      };

      await assert.rejects(store.put("a", broken), RangeError);
      await assert.rejects(store.put("a", bodyOf(bytes, "0".repeat(64))), { code: "corrupt" });
      await assert.rejects(store.put("a", { ...good, size: size + 1 }), { code: "corrupt" });
      await assert.rejects(store.put("a", { ...good, size: size - 1 }), { code: "corrupt" });
      await assert.rejects(store.put("a", aborted, { signal: abort.signal }), (error) => error === reason);

      assert.deepEqual(await namesIn(store), []);
      assert.deepEqual(await server.uploads(bucket), []);
      await store.close();
    });

    test("and stops at the first part that is refused", async () => {
      await using behind = await openBehindProxy(({ path }) =>
        /partNumber=2\b/.test(path) ? { answer: s3Answer(403, "AccessDenied") } : undefined,
      );

      await assert.rejects(behind.store.put("a", Buffer.alloc(80 * mebibyte)), { code: "unauthorized" });

      assert.ok(behind.requests().filter(({ path }) => isPart(path)).length <= 5);
      assert.deepEqual(await server.uploads(behind.bucket), []);
    });

    test("and its owner aborts what killed writers left a day ago, and no other program's uploads", async () => {
      const { bucket, store } = await open();
      const file = "0000000000000001-0000000000000002-0123456789ab.segment.cbor";
      const begin = async (name: string) => {
        const abort = new AbortController();
        await using behind = await openBehindProxy(({ method }) =>
          method === "DELETE" ? { reset: true } : undefined,
        );
        await using writer = s3Store({ ...server.entry(bucket), endpoint: proxy.endpoint });
        await behind.store.close();
        setTimeout(() => abort.abort(new Error("killed")), 800);
        const endless = {
          size,
          async *open() {
            yield Buffer.alloc(20 * mebibyte);
            await sleep(4000, undefined, { signal: abort.signal }).catch(() => undefined);
            throw new Error("killed");
          },
        };
        await assert.rejects(writer.put(name, endless, { signal: abort.signal }));
      };
      const others = [
        "films/0123456789abcdef/segments/holiday.mov",
        `films/old/0123456789abcdef/segments/${file}`,
      ];
      const ours = [`0123456789abcdef/segments/${file}`, `orders/0123456789abcdef/segments/${file}`];
      for (const name of [...others, ...ours]) await begin(name);
      const uploads = async () => (await server.uploads(bucket)).toSorted();
      assert.deepEqual(await uploads(), [...ours, ...others].toSorted());
      const hourMs = 60 * 60 * 1000;
      await using early = s3Store({
        ...server.entry(bucket),
        sweep: true,
        now: () => Date.now() + 23 * hourMs,
      });
      await using owner = s3Store({
        ...server.entry(bucket),
        sweep: true,
        now: () => Date.now() + 25 * hourMs,
      });

      await namesIn(store);
      await namesIn(early);
      await sleep(300);
      assert.equal((await uploads()).length, 4);
      await namesIn(owner);
      await until("the sweep", async () => (await uploads()).length <= others.length);
      await sleep(100);
      assert.deepEqual(await uploads(), others.toSorted());
      await store.close();
    });
  });

  suite("lists", () => {
    test("without waiting for the sweep, which ends when the store is closed", async () => {
      const asked = Promise.withResolvers<void>();
      const isUploads = (method: string, path: string) => method === "GET" && /[?&]uploads\b/.test(path);
      await using behind = await openBehindProxy(
        async ({ method, path }) => {
          if (!isUploads(method, path)) return undefined;
          asked.resolve();
          await sleep(5000, undefined, { ref: false });
          return { reset: true };
        },
        { sweep: true },
      );

      const startedMs = performance.now();
      assert.deepEqual(await namesIn(behind.store), []);
      await asked.promise;
      await behind.store.close();

      assert.ok(performance.now() - startedMs < 3000);
    });

    test("page after page, and throws where a page cannot be had or trusted", async () => {
      const { bucket, store } = await open();
      const names = Array.from({ length: 1200 }, (_, index) => `a/${String(index).padStart(4, "0")}`);
      await server.place(bucket, names);
      await using _rule = await openBehindProxy(() => undefined);
      await using proxied = s3Store({ ...server.entry(bucket), endpoint: proxy.endpoint });
      const isList = (path: string) => path.includes("list-type=2");
      const isNext = (path: string) => path.includes("continuation-token=");
      const listedWith = async (rule: HttpProxy["rule"]) => {
        proxy.rule = rule;
        return namesIn(proxied);
      };
      const rewritten = (rewrite: (body: string) => string) =>
        listedWith(({ path }) => (isList(path) ? { rewrite } : undefined));
      const swapped = (body: string) => {
        const [first = "", second = ""] = body.match(/<Contents>.*?<\/Contents>/gs) ?? [];
        return body.replace(first, "!").replace(second, first).replace("!", second);
      };
      const isBroken = { code: "unavailable" };

      assert.deepEqual(await listedWith(() => undefined), names);
      await assert.rejects(
        listedWith(({ path }) => (isNext(path) ? { answer: s3Answer(500, "InternalError") } : undefined)),
        isBroken,
      );
      await assert.rejects(
        listedWith(({ path }) => (isNext(path) ? { reset: true } : undefined)),
        isBroken,
      );
      await assert.rejects(
        rewritten((body) => body.replace(/<NextContinuationToken>.*?<\/NextContinuationToken>/s, "")),
        isBroken,
      );
      await assert.rejects(rewritten(swapped), isBroken);
      await assert.rejects(
        rewritten((body) => body.replace(/<Contents>.*?<\/Contents>/s, "")),
        isBroken,
      );
      await assert.rejects(
        rewritten((body) => body.slice(0, body.length / 2)),
        isBroken,
      );
      await assert.rejects(
        listedWith(({ path }) =>
          isNext(path) ? { answer: { status: 200, body: "<html>a portal</html>" } } : undefined,
        ),
        isBroken,
      );
      await store.close();
    });
  });

  suite("reads", () => {
    test("for as long as its reader wants: only a silent server is given up", async () => {
      const { store } = await open({ timeoutMs: 300 });
      const bytes = randomBytes(3 * mebibyte);
      await store.put("a", bytes);
      const read: Uint8Array[] = [];

      for await (const chunk of await store.get("a")) {
        if (read.length === 1) await sleep(1000);
        read.push(chunk);
      }

      assert.ok(Buffer.concat(read).equals(bytes));
      await store.close();
    });

    test("exactly the range, or an error where a server ignores ranges", async () => {
      await using behind = await openBehindProxy(({ headers }) =>
        headers.range === undefined ? undefined : { answer: { status: 200, body: "ten bytes." } },
      );
      await behind.store.put("a", text("ten bytes."));

      await assert.rejects(behind.store.get("a", { offset: 2, length: 3 }), { code: "unavailable" });
      assert.equal((await readAll(await behind.store.get("a"))).toString(), "ten bytes.");
    });

    test("by a URL that needs no credentials, until it is changed or too old", async () => {
      const { store } = await open({ prefix: "p" });
      await store.put("a b/ü", text("words"));
      const url = await store.presign("a b/ü", { expiresSeconds: 60 });
      const old = await store.presign("a b/ü", { expiresSeconds: 1 });

      const [good, changed, elsewhere] = await Promise.all([
        fetch(url),
        fetch(url.replace(/X-Amz-Expires=60/, "X-Amz-Expires=600")),
        fetch(url.replace("/p/", "/q/")),
        sleep(2100),
      ]);

      assert.equal(await good.text(), "words");
      assert.equal(changed.status, 403);
      assert.equal(elsewhere.status, 403);
      assert.equal((await fetch(old)).status, 403);
      for (const expiresSeconds of [0, 1.5, 7 * 86_400 + 1]) {
        await assert.rejects(store.presign("a", { expiresSeconds }), { code: "bad-request" });
      }
      await store.close();
    });
  });

  suite("removes", () => {
    test("from a versioned bucket with a marker, which it reports: the bytes are still there", async () => {
      const { bucket, store } = await open({}, await server.makeBucket({ versioned: true }));
      await store.put("a", text("first"));
      await store.put("b", text("second"));

      const retained = await store.remove(["a", "b"]);

      assert.deepEqual(
        retained.toSorted((x, y) => (x.name < y.name ? -1 : 1)),
        [
          { name: "a", reason: "delete-marker" },
          { name: "b", reason: "delete-marker" },
        ],
      );
      assert.deepEqual(await namesIn(store), []);
      await assert.rejects(store.get("a"), { code: "not-found" });
      assert.deepEqual(await server.versions(bucket, "a"), { versions: 1, markers: 1 });
      assert.equal(await store.put("a", text("anew")), "stored");
      await store.close();
    });

    test("from a bucket with object lock likewise, where everything else works as ever", async () => {
      const { bucket, store } = await open({}, await server.makeBucket({ locked: "COMPLIANCE" }));
      const large = bodyOf(randomBytes(9 * mebibyte));

      assert.equal(await store.put("a", text("locked")), "stored");
      assert.equal(await store.put("large", large), "stored");
      assert.equal(await store.put("a", text("locked")), "present");
      await assert.rejects(store.put("a", text("other")), { code: "conflict" });
      await store.replace("needs.json", text("1"));
      await store.replace("needs.json", text("2"));
      assert.deepEqual(await store.remove(["a"]), [{ name: "a", reason: "delete-marker" }]);

      assert.equal((await readAll(await store.get("needs.json"))).toString(), "2");
      assert.deepEqual(await server.versions(bucket, "a"), { versions: 1, markers: 1 });
      await store.close();
    });

    test("what a lock allows, and reports what it does not", async () => {
      await using behind = await openBehindProxy(({ method, path }) =>
        method === "DELETE" && path.includes("/b")
          ? {
              answer: s3Answer(
                403,
                "ObjectLockedByBucketPolicy",
                "The object is locked by the bucket policy.",
              ),
            }
          : undefined,
      );
      for (const name of ["a", "b", "c"]) await behind.store.put(name, text("x"));

      assert.deepEqual(await behind.store.remove(["a", "b", "c"]), [{ name: "b", reason: "locked" }]);

      assert.deepEqual(await namesIn(behind.store), ["b"]);
    });
  });

  test("gives no object a body that a broken line has changed", async () => {
    const { bucket, store } = await open();
    const stored = await server.client
      .send(
        new PutObjectCommand({ Bucket: bucket, Key: "b", Body: "x", ContentMD5: "AAAAAAAAAAAAAAAAAAAAAA==" }),
      )
      .then(
        () => true,
        () => false,
      );
    await store.put("a", text("x"));
    const { ETag } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key: "a" }));

    assert.equal(stored, false);
    assert.equal(ETag?.replaceAll('"', ""), createHash("md5").update("x").digest("hex"));
    await store.close();
  });
});
