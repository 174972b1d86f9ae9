import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { errorTable } from "@pageferry/format";
import { errorsPage, errorsPagePath } from "./errors-page.ts";

suite("docs/errors.md", () => {
  test("is what the table of codes says", () => {
    assert.equal(
      readFileSync(errorsPagePath, "utf8"),
      errorsPage(),
      "run node -C @pageferry/source test/docs/errors-page.ts",
    );
  });

  test("gives every code a sentence, something to do, and an exit code that is not success", () => {
    for (const [code, { when, hint, exitCode }] of Object.entries(errorTable)) {
      assert.match(when, /^[A-Z].*\.$/, code);
      assert.match(hint, /^[A-Z].*\.$/, code);
      assert.ok(exitCode > 1 && exitCode < 126, code);
    }
  });
});
