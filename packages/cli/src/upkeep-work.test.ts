import { deepEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { parseDatabaseName } from "@pageferry/format";
import type { Io } from "./io.ts";
import { postEach } from "./upkeep-work.ts";

const databases = [parseDatabaseName("app")];
const io = { signal: new AbortController().signal } as unknown as Io;

/** A host that gives this answer. */
const ask = (answer: unknown) => {
  const client = { postJson: async () => answer } as never;
  const work = { origin: "http://h", client, databases };
  return postEach(work, "verify", new URLSearchParams(), (one) => "replicas" in one, io);
};

test("a host's report is taken, and a problem that it tells after hours is thrown as what it is", async () => {
  deepEqual(await ask({ replicas: [] }), [{ replicas: [] }]);
  await rejects(ask({ code: "not-found", detail: "nobody" }), { code: "not-found" });
  for (const odd of [[], null, 7, { code: "no-such-code", detail: "x" }, {}])
    await rejects(ask(odd), { code: "unavailable" });
});
