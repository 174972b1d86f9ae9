import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { suite, type TestContext, test } from "node:test";
import { databasesRoute } from "@pageferry/functions/routes";
import { createHostClient } from "./host-client.ts";

/** Answers with these statuses in turn, the last one for ever, and counts. */
async function answering(t: TestContext, ...statuses: readonly number[]) {
  let asked = 0;
  const server = createServer((_, response) => {
    const status = statuses[Math.min(asked, statuses.length - 1)] ?? 200;
    asked += 1;
    response.writeHead(status, { "content-type": "application/json" }).end('{"databases":[],"alarms":[]}');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { client: createHostClient(origin, "token"), asked: () => asked };
}

suite("a client of a host", () => {
  test("comes again where the host has its hands full, more often than where it is away", async (t) => {
    const { client, asked } = await answering(t, 429, 429, 429, 200);

    await client.call(databasesRoute, { params: {}, signal: t.signal });

    assert.equal(asked(), 4);
  });

  test("tells a wrong token from one that has not the right, and asks for neither again", async (t) => {
    for (const [status, code] of [
      [401, "unauthorized"],
      [403, "forbidden"],
    ] as const) {
      const { client, asked } = await answering(t, status);
      await assert.rejects(client.call(databasesRoute, { params: {}, signal: t.signal }), { code });
      assert.equal(asked(), 1);
    }
  });
});
