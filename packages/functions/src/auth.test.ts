import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import type { PageferryError } from "@pageferry/format";
import { checkToken, createAuthenticate, tokenFromFile } from "./auth.ts";
import { createFailureLimit } from "./failures.ts";
import { problemOf } from "./problem.ts";
import { everything } from "./scopes.ts";
import { makeToken, type NewToken, parseTokenRecord, type TokenRecord } from "./tokens.ts";

const token = "a-token-of-some-length";

async function temporaryPath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-auth-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, "token");
}

/** What tells who calls, with the records that are given. */
function door(records: readonly TokenRecord[] = [], now = () => 1000) {
  let clockMs = 0;
  const asked: string[] = [];
  const many: string[] = [];
  const authenticate = createAuthenticate({
    ...{ token, now },
    book: {
      find: async (id) => {
        asked.push(id);
        return records.find((record) => record.id === id);
      },
    },
    failures: createFailureLimit(() => clockMs),
    onMany: (address) => many.push(address),
  });
  const enter = (given: string, address = "10.0.0.1") => authenticate(`Bearer ${given}`, address);
  return { authenticate, enter, asked, many, later: (ms: number) => (clockMs += ms) };
}

const agentOfApp: NewToken = { scopes: ["ingest", "needs"], databases: ["app"] };

suite("a made token", () => {
  test("grants what its record says, and is not in it", async () => {
    const { token: made, record } = makeToken({ ...agentOfApp, note: "web" }, 1000);
    const secret = made.split("_").slice(2).join("_");

    const grant = await door([record]).enter(made);

    assert.match(made, /^pf_[0-9a-f]{12}_[A-Za-z0-9_-]{43}$/);
    assert.deepEqual(grant, {
      id: record.id,
      scopes: new Set(["ingest", "needs"]),
      databases: new Set(["app"]),
    });
    assert.ok(secret.length === 43 && !JSON.stringify(record).includes(secret));
    assert.deepEqual(parseTokenRecord(JSON.stringify(record), "file"), record);
  });

  test("is refused in the same words whether its id is unknown or its secret is wrong", async () => {
    const { token: made, record } = makeToken(agentOfApp, 1000);
    const wrongSecret = `pf_${record.id}_${"A".repeat(43)}`;
    const { enter, asked } = door([record]);
    const refusalOf = async (given: string) => {
      const error = await enter(given).then(
        () => assert.fail("let in"),
        (failure: PageferryError) => failure,
      );
      return [error.code, error.message, error.hint];
    };

    const told = await refusalOf(wrongSecret);

    assert.equal(told[0], "unauthorized");
    assert.deepEqual(await refusalOf(`pf_000000000000_${"A".repeat(43)}`), told);
    assert.deepEqual(await refusalOf("guess"), told);
    assert.deepEqual(await refusalOf(`${made}x`), told);
    assert.deepEqual(await refusalOf(made.split("_").slice(2).join("_")), told);
    assert.deepEqual(await refusalOf(record.sha256), told);
    assert.equal(asked.length, 12, "each looks for a record, twice, also where it cannot be there");
  });

  test("is looked for again where it is wrong, since it may be new, but not for those who guess", async () => {
    const { enter, asked } = door();
    for (let failures = 0; failures < 40; failures += 1) await assert.rejects(enter("guess"));

    assert.equal(asked.length, 30 * 2 + 10);
  });

  test("is refused from the moment it expires", async () => {
    let nowMs = 1999;
    const { token: made, record } = makeToken({ ...agentOfApp, expiresAtMs: 2000 }, 1000);
    const { enter } = door([record], () => nowMs);

    await enter(made);
    nowMs = 2000;

    await assert.rejects(enter(made), { code: "unauthorized", message: /expired/ });
  });

  test("is not made for a name that is none, nor with a note that is a letter", () => {
    assert.throws(() => makeToken({ ...agentOfApp, databases: ["../app"] }, 0), { code: "bad-name" });
    assert.throws(() => makeToken({ ...agentOfApp, note: "x".repeat(201) }, 0), { code: "bad-request" });
  });
});

suite("wrong tokens from one address", () => {
  test("are told to wait after thirty in a minute, others are not, and the right one is let in all the time", async () => {
    const { enter, many, later } = door();
    for (let failures = 0; failures < 30; failures += 1)
      await assert.rejects(enter("guess"), { code: "unauthorized" });
    later(20_000);

    for (let failures = 0; failures < 3; failures += 1) {
      await assert.rejects(enter("guess"), (error: PageferryError) => {
        assert.equal(error.code, "too-many");
        assert.equal(problemOf(error, { isAboutRequest: false, requestId: "" }).status, 429);
        assert.equal(problemOf(error, { isAboutRequest: false, requestId: "" }).headers["retry-after"], "40");
        return true;
      });
    }
    await assert.rejects(enter("guess", "10.0.0.2"), { code: "unauthorized" });
    assert.equal((await enter(token)).id, "host");
    assert.deepEqual(many, ["10.0.0.1"], "told once");

    later(40_000);
    await assert.rejects(enter("guess"), { code: "unauthorized" });
  });

  test("are counted for ten thousand addresses, and the one heard of longest ago is forgotten", () => {
    const limit = createFailureLimit(() => 0);
    const fail = (address: string, times: number) =>
      Array.from({ length: times }, () => limit.failed(address)).at(-1);
    fail("old", 30);
    fail("kept", 30);
    for (let at = 0; at < 9_999; at += 1) limit.failed(`10.0.0.${at}`);

    assert.equal(limit.failed("kept")?.isFirst, true);
    assert.equal(limit.failed("old"), undefined);
  });
});

suite("a bearer token", () => {
  test("of the host is taken as it is, whatever the case of the scheme, and may do everything", async () => {
    const { authenticate } = door();

    assert.equal(await authenticate(`Bearer ${token}`, ""), everything);
    assert.equal(await authenticate(`bearer  ${token} `, ""), everything);
  });

  for (const header of [
    undefined,
    "",
    "Bearer",
    `Basic ${token}`,
    `Bearer ${token}x`,
    `Bearer ${token.slice(1)}`,
    token,
  ]) {
    test(`is refused in ${JSON.stringify(header)}, and not repeated`, async () => {
      await assert.rejects(door().authenticate(header, ""), (error: PageferryError) => {
        assert.equal(error.code, "unauthorized");
        assert.ok(!`${error.message} ${error.hint}`.includes(token.slice(3)));
        return true;
      });
    });
  }

  test("is made once, for its owner's eyes", async (t) => {
    const path = await temporaryPath(t);

    const { token: made, isNew } = await tokenFromFile(path);

    assert.ok(isNew && made.length >= 32);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.deepEqual(await tokenFromFile(path), { token: made, isNew: false });
    assert.equal((await readFile(path, "utf8")).trim(), made);
    assert.notEqual((await tokenFromFile(`${path}-other`)).token, made);
  });

  test("made by two at a time is one", async (t) => {
    const path = await temporaryPath(t);

    const [one, two] = await Promise.all([tokenFromFile(path), tokenFromFile(path)]);

    assert.equal(one.token, two.token);
  });

  test("in a file that others could read is hidden from them again", async (t) => {
    const path = await temporaryPath(t);
    await writeFile(path, `${token}\n`);
    await chmod(path, 0o644);

    assert.equal((await tokenFromFile(path)).token, token);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  test("that is short, empty or not printable is bad-config, and not repeated", async (t) => {
    const path = await temporaryPath(t);
    await writeFile(path, "hunter2\n");

    await assert.rejects(tokenFromFile(path), (error: Error & { code?: string }) => {
      assert.equal(error.code, "bad-config");
      assert.ok(!error.message.includes("hunter2"));
      return true;
    });
    assert.throws(() => checkToken("with a space in it", "x"), { code: "bad-config" });
  });
});
