import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PageferryError, parseDatabaseName } from "@pageferry/format";
import { createDatabases, type DatabasesOptions } from "./databases.ts";

const app = parseDatabaseName("app");
const conflict = new PageferryError("conflict", "it is another's archive");
const away = new PageferryError("unavailable", "no answer");

suite("a database that a replica refused", () => {
  test("stays refused while the replica is asked again and does not answer, until it says otherwise", async (t) => {
    let nowMs = 0;
    t.mock.method(performance, "now", () => nowMs);
    const pending: PromiseWithResolvers<unknown>[] = [];
    const target = {
      ask() {
        const answer = Promise.withResolvers<unknown>();
        pending.push(answer);
        return answer.promise;
      },
    };
    const sources = { all: () => [{}] };
    const { admit } = createDatabases({ targets: [target], sources } as unknown as DatabasesOptions);
    const first = admit(app);
    pending[0]?.reject(conflict);
    await assert.rejects(first, { code: "conflict" });

    nowMs += 60_000;
    const whileAsked = admit(app);
    await assert.rejects(whileAsked, { code: "conflict" });
    assert.equal(pending.length, 2);
    pending[1]?.reject(away);
    await new Promise(setImmediate);
    await assert.rejects(admit(app), { code: "conflict" });
    nowMs += 60_000;
    await assert.rejects(admit(app), { code: "conflict" });
    pending[2]?.resolve(undefined);
    await new Promise(setImmediate);

    await admit(app);
  });
});
