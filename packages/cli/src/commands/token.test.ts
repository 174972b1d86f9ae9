import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { capturedIo } from "../../testing/captured-io.ts";
import { run } from "../main.ts";

async function commandOn(t: TestContext) {
  const data = await mkdtemp(join(tmpdir(), "pageferry-token-"));
  t.after(() => rm(data, { recursive: true, force: true }));
  const token = async (...argv: string[]) => {
    const io = capturedIo();
    const code = await run(["token", ...argv, "--data", data], io);
    return { code, ...io.said };
  };
  return { data, token };
}

suite("pageferry token", () => {
  test("create --record keeps nothing, and prints what a deployment is to know of the token", async () => {
    const io = capturedIo();

    const code = await run(["token", "create", "--record", "--scopes", "restore", "--database", "app"], io);

    assert.equal(code, 0, io.said.err);
    const { token, record } = JSON.parse(io.said.out) as { token: string; record: Record<string, unknown> };
    const [, id, secret = ""] = /^pf_([0-9a-f]{12})_(.*)$/.exec(token) ?? [];
    assert.deepEqual(
      [record.id, record.scopes, record.databases, record.version],
      [id, ["restore"], ["app"], 1],
    );
    assert.ok(!JSON.stringify(record).includes(secret) && !io.said.err.includes(secret));

    const refused = capturedIo();
    assert.equal(await run(["token", "create", "--record", "--data", "somewhere"], refused), 2);
    assert.match(refused.said.err, /--record keeps nothing/);
  });

  test("create prints the token alone, once, and says beside it what it may", async (t) => {
    const { data, token } = await commandOn(t);

    const made = await token("create", "--database", "app", "web", "--expires", "90d", "--note", "for web");

    assert.equal(made.code, 0, made.err);
    assert.match(made.out, /^pf_[0-9a-f]{12}_[A-Za-z0-9_-]{43}\n$/);
    const id = made.out.slice(3, 15);
    assert.match(
      made.err,
      new RegExp(`^token ${id}: ingest, needs on app,web until 20\\d\\d-.*not shown again\n$`),
    );
    const secret = made.out.trim().slice(16);
    const [file = ""] = await readdir(join(data, "tokens"));
    const listed = await token("list");
    for (const text of [made.err, listed.out, listed.err, await readFile(join(data, "tokens", file), "utf8")])
      assert.ok(!text.includes(secret));
    assert.match(listed.out, new RegExp(`${id} +ingest,needs +app,web +20.*for web`));
  });

  test("list and revoke say the same as JSON, without a hash", async (t) => {
    const { token } = await commandOn(t);
    const { token: secret, ...made } = JSON.parse(
      (await token("create", "--scopes", "read,restore", "--json")).out,
    );

    assert.match(secret, /^pf_/);
    assert.deepEqual([made.scopes, made.databases, made.expires], [["read", "restore"], "*", null]);
    assert.deepEqual(JSON.parse((await token("list", "--json")).out), [made]);
    assert.deepEqual(JSON.parse((await token("revoke", made.id, "--json")).out), { revoked: made.id });
    assert.equal((await token("list")).out, "no token was made\n");
    assert.equal((await token("revoke", made.id)).code, 3);
  });

  test("answers what it does not understand with 2 and makes nothing", async (t) => {
    const { data, token } = await commandOn(t);
    const cases: readonly string[][] = [
      ["make"],
      ["revoke"],
      ["revoke", "zebra"],
      ["list", "3f9c2a7be014"],
      ["list", "--scopes", "read"],
      ["create", "--scopes", "everything"],
      ["create", "--scopes", ""],
      ["create", "--database", "../app"],
      ["create", "--expires", "soon"],
      ["create", "--expires", "0s"],
    ];

    for (const argv of cases) {
      const { code, out, err } = await token(...argv);
      assert.equal(code, 2, argv.join(" "));
      assert.equal(out, "");
      assert.match(err, /^error: .*\nhint: /, argv.join(" "));
    }
    assert.deepEqual(await readdir(data), []);
  });
});

suite("the token that a host makes at its first start", () => {
  async function startOn(data: string, isTerminal: boolean): Promise<string> {
    const io = { ...capturedIo(), isTerminal };
    const ended = run(["serve", "--data", data, "--port", "0"], io);
    while (!/^ready/m.test(io.said.out)) await sleep(10);
    io.terminate();
    assert.equal(await ended, 0, io.said.err);
    return `${io.said.out}${io.said.err}`;
  }
  const tokenIn = async (data: string) => (await readFile(join(data, "token"), "utf8")).trim();

  test("is shown on a terminal, and only then", async (t) => {
    const { data } = await commandOn(t);

    const first = await startOn(data, true);
    const second = await startOn(data, true);

    assert.ok(first.includes(await tokenIn(data)));
    assert.ok(!second.includes(await tokenIn(data)));
  });

  test("is not in what a service logs", async (t) => {
    const { data } = await commandOn(t);

    const said = await startOn(data, false);

    assert.ok(said.includes(join(data, "token")));
    assert.ok(!said.includes(await tokenIn(data)));
  });
});
