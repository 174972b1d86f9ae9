import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { capturedIo } from "../testing/captured-io.ts";
import { parseCommandLine, runApplication } from "./application.ts";

suite("the command line of --exec", () => {
  for (const [text, words] of [
    ["app", ["app"]],
    ["  app  --db\tapp.db ", ["app", "--db", "app.db"]],
    ["app 'a b' \"c d\"", ["app", "a b", "c d"]],
    ["app --name='a b'\"c\"d", ["app", "--name=a bcd"]],
    ['app "say \\"hi\\" for \\$5 \\n" a\\ b', ["app", 'say "hi" for $5 \\n', "a b"]],
    ["app ''", ["app", ""]],
    ["sh -c 'a && b > \"c\"'", ["sh", "-c", 'a && b > "c"']],
    ["app $HOME *.db", ["app", "$HOME", "*.db"]],
  ] as const) {
    test(`is words: ${text}`, () => assert.deepEqual(parseCommandLine(text), words));
  }

  test("is refused where a quote is open, and where there is no program", () => {
    for (const text of ["", "  ", "app 'a", 'app "a', "app a\\", "'' a"])
      assert.throws(() => parseCommandLine(text), { code: "bad-request" }, text);
  });
});

suite("an application", () => {
  test("ends with its code, or with the number of the signal that was given to it", async () => {
    assert.equal(
      await runApplication(["sh", "-c", "exit 5"], capturedIo(process.env as Record<string, string>)),
      5,
    );
    const io = capturedIo(process.env as Record<string, string>);
    const running = runApplication(["sleep", "60"], io);
    io.terminate("SIGTERM");
    assert.equal(await running, 143);
    assert.equal(io.signal.aborted, false);
  });
});
