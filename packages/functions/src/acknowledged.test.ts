import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  isPageferryError,
  type ProfileName,
  parseDatabaseName,
  profileNames,
  profileOf,
} from "@pageferry/format";
import { requireAcknowledged } from "./acknowledged.ts";

const database = parseDatabaseName("node");

const asked = (configured: ProfileName, typed?: string) => () =>
  requireAcknowledged(database, typed, { profileOf: (name) => profileOf({ name, configured }) });

suite("a file that does harm in its place", () => {
  const harmful = profileNames.filter((configured) => profileOf({ name: "app", configured }).acknowledgement);

  for (const configured of harmful) {
    const { acknowledgement, steps } = profileOf({ name: "app", configured });
    const word = acknowledgement?.word ?? "";

    test(`of ${configured} is given to who says so, in its words`, () => {
      for (const wrong of [undefined, "", "yes", "true", `${word}s`])
        assert.throws(asked(configured, wrong), { code: "unacknowledged" }, wrong);
      for (const right of [word, ` ${word.toUpperCase()} `]) assert.doesNotThrow(asked(configured, right));
    });

    test(`of ${configured} is refused with the harm, the words, and the application's own way back`, () => {
      assert.throws(asked(configured), (error) => {
        assert.ok(isPageferryError(error, "unacknowledged"));
        assert.ok(error.message.includes(acknowledgement?.harm ?? "?"));
        for (const step of steps) assert.ok(error.hint.includes(step));
        assert.ok(error.hint.includes(`acknowledge=${word.replaceAll(" ", "+")}`));
        return true;
      });
    });
  }

  test("is told by the database's name where nobody says more", () => {
    assert.throws(() => requireAcknowledged(parseDatabaseName("lnd"), undefined, {}), {
      code: "unacknowledged",
    });
  });

  test("is none of a service of one's own, whatever is typed", () => {
    for (const typed of [undefined, "", "loss of funds"]) assert.doesNotThrow(asked("own", typed));
  });
});
