import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parseServers, readCredentials, readRootCAs } from "./nats-auth.ts";
import { fromApi, fromNats } from "./nats-errors.ts";

/** No real one: what counts is its shape. */
const seed = `SU${"A".repeat(56)}`;

suite("the servers in a NATS URL", () => {
  test("are one or several, with a default port", () => {
    assert.deepEqual(parseServers("nats://one, tls://two:4223,[::1]:99,three").servers, [
      { host: "one", port: 4222, isTls: false },
      { host: "two", port: 4223, isTls: true },
      { host: "::1", port: 99, isTls: false },
      { host: "three", port: 4222, isTls: false },
    ]);
  });

  test("come with a user and a password, or a token, before the first that has one", () => {
    assert.deepEqual(parseServers("nats://me:p%40%2Cw@one,two").credentials, { user: "me", pass: "p@,w" });
    assert.deepEqual(parseServers("one,nats://t0ken@two").credentials, { token: "t0ken" });
    assert.deepEqual(parseServers("one").credentials, {});
  });

  test("are not parted within a password that holds a comma", () => {
    const { servers, credentials } = parseServers("nats://me:p,w@one,two");

    assert.deepEqual(credentials, { user: "me", pass: "p,w" });
    assert.deepEqual(
      servers.map(({ host }) => host),
      ["one", "two"],
    );
  });
});

suite("credentials", () => {
  test("are files, or what a file would hold", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-nats-"));
    t.after(() => rm(directory, { recursive: true, force: true }));
    const creds = `-----BEGIN NATS USER JWT-----\r\neyJh.eyJi.c-_\r\n------END\r\n-----BEGIN USER NKEY SEED-----\r\n${seed}\r\n`;
    await writeFile(join(directory, "creds"), creds);
    await writeFile(join(directory, "nk"), `${seed}\n`);

    const both = { jwt: "eyJh.eyJi.c-_", seed };
    assert.deepEqual(await readCredentials({ creds: join(directory, "creds") }), both);
    assert.deepEqual(await readCredentials({ creds }), both);
    assert.deepEqual(await readCredentials({ nkey: join(directory, "nk") }), { seed });
    assert.deepEqual(await readCredentials({ nkey: seed }), { seed });
    assert.deepEqual(await readCredentials({}), {});
  });

  test("that are none are bad-config, and are not repeated", async () => {
    const secret = "SUsecret";
    for (const options of [{ nkey: secret }, { creds: secret }, { creds: `-----BEGIN ${seed} ${secret}` }]) {
      await assert.rejects(
        readCredentials(options),
        (error: Error & { code?: string }) =>
          error.code === "bad-config" && !`${error.stack} ${String(error.cause)}`.includes(secret),
      );
    }
    await assert.rejects(readRootCAs(["/none/ca.pem"]), { code: "bad-config" });
  });
});

suite("what NATS says", () => {
  const natsError = (code: string) => Object.assign(new Error(code), { name: "NatsError", code });

  test("becomes one of our codes", () => {
    for (const [code, ours] of [
      ["TIMEOUT", "unavailable"],
      ["503", "unavailable"],
      ["CONNECTION_CLOSED", "unavailable"],
      ["AUTHORIZATION_VIOLATION", "unauthorized"],
      ["PERMISSIONS_VIOLATION", "unauthorized"],
      ["SERVER_OPT_NA", "unauthorized"],
    ]) {
      assert.equal((fromNats(natsError(code ?? ""), "x") as { code?: unknown }).code, ours, code);
    }
    for (const [err_code, description, ours] of [
      [10_059, "stream not found", "unavailable"],
      [10_077, "maximum bytes exceeded", "disk-full"],
      [10_077, "store closed", "unavailable"],
      [10_047, "insufficient storage resources available", "disk-full"],
      [10_109, "invalid operation on sealed stream", "unauthorized"],
      [10_039, "JetStream not enabled for account", "unavailable"],
    ] as const) {
      assert.equal(fromApi({ code: 400, err_code, description }, "x", "b").code, ours, description);
    }
  });

  test("and what it does not say stays as it is", () => {
    for (const error of [
      new RangeError("mine"),
      "a reason",
      undefined,
      Object.assign(new Error(), { code: "MINE" }),
    ]) {
      assert.equal(fromNats(error, "x"), error);
    }
  });
});
