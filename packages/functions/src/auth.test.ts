import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { checkBearer, checkToken, tokenFromFile } from "./auth.ts";

const token = "a-token-of-some-length";

async function temporaryPath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-auth-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, "token");
}

suite("a bearer token", () => {
  test("is taken as it is, whatever the case of the scheme", () => {
    checkBearer(`Bearer ${token}`, token);
    checkBearer(`bearer  ${token} `, token);
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
    test(`is refused in ${JSON.stringify(header)}, and not repeated`, () => {
      assert.throws(
        () => checkBearer(header, token),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, "unauthorized");
          assert.ok(!error.message.includes(token.slice(3)));
          return true;
        },
      );
    });
  }

  test("is made once, for its owner's eyes", async (t) => {
    const path = await temporaryPath(t);

    const made = await tokenFromFile(path);

    assert.ok(made.length >= 32);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal(await tokenFromFile(path), made);
    assert.equal((await readFile(path, "utf8")).trim(), made);
    assert.notEqual(await tokenFromFile(`${path}-other`), made);
  });

  test("made by two at a time is one", async (t) => {
    const path = await temporaryPath(t);

    const [one, two] = await Promise.all([tokenFromFile(path), tokenFromFile(path)]);

    assert.equal(one, two);
  });

  test("in a file that others could read is hidden from them again", async (t) => {
    const path = await temporaryPath(t);
    await writeFile(path, `${token}\n`);
    await chmod(path, 0o644);

    assert.equal(await tokenFromFile(path), token);
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
