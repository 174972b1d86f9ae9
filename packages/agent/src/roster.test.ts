import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type DatabaseName, parseDatabaseName } from "@pageferry/format";
import type { DatabaseAgent } from "./database.ts";
import type { DatabasePlace } from "./database-state.ts";
import { createRoster } from "./roster.ts";

const names = ["a", "b", "c"].map(parseDatabaseName) as [DatabaseName, DatabaseName, DatabaseName];
const place = (name: DatabaseName) => ({ name, path: `/${name}.db` }) as DatabasePlace;

/** Databases of which some cannot end well. */
function open(failing: readonly string[]) {
  const stopped: string[] = [];
  const opened = Promise.withResolvers<void>();
  const roster = createRoster(async ({ name }) => {
    if (name === "c") await opened.promise;
    return {
      async stop() {
        await new Promise((settle) => setTimeout(settle, failing.includes(name) ? 0 : 20));
        stopped.push(name);
        if (failing.includes(name)) throw new Error(`${name} cannot be closed`);
      },
    } as unknown as DatabaseAgent;
  });
  return { roster, stopped, letOpen: opened.resolve };
}

suite("the roster of an agent", () => {
  test("lets go of a database also where that fails, so that its name is free", async () => {
    const { roster } = open(["a"]);
    await roster.open(place(names[0]));

    await assert.rejects(roster.close(names[0], 10), /cannot be closed/);

    await assert.rejects(roster.close(names[0], 10), { code: "not-found" });
    await roster.open(place(names[0]));
  });

  test("stops all of them, those that are coming too, before it says that one failed", async () => {
    const { roster, stopped, letOpen } = open(["a"]);
    const [a, b, c] = names;
    await roster.open(place(a));
    await roster.open(place(b));
    const coming = roster.open(place(c));
    const stopping = roster.stop(10);
    letOpen();

    await assert.rejects(stopping, /a cannot be closed/);

    await coming;
    assert.deepEqual(stopped.sort(), ["a", "b", "c"]);
  });

  test("has one of a name at a time, also while it comes and goes", async () => {
    const { roster, letOpen } = open([]);
    const [, , c] = names;
    const coming = roster.open(place(c));
    await assert.rejects(roster.open(place(c)), { code: "bad-config" });
    await assert.rejects(roster.close(c, 10), { code: "not-found" });
    letOpen();
    await coming;
    const going = roster.close(c, 10);
    await assert.rejects(roster.open(place(c)), { code: "bad-config" });
    await going;

    assert.deepEqual(roster.all(), []);
  });
});
