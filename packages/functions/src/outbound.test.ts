import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { answering, openReceiver } from "../testing/receiver.ts";
import { createOutbound } from "./outbound.ts";

const post = (url: string) => ({ url, method: "POST" as const, body: "{}" });

suite("a call outside", () => {
  test("brings method, headers and body, and is done with a 2xx", async (t) => {
    const { url, received } = await openReceiver(t, answering(204));

    await createOutbound({ allowPrivate: true }).call({
      ...post(`${url}/hook?x=1`),
      headers: { "content-type": "application/json" },
    });

    const [{ method, path, headers, body } = { headers: {} }] = received;
    assert.deepEqual(
      [method, path, body, headers["content-type"]],
      ["POST", "/hook?x=1", "{}", "application/json"],
    );
  });

  test("follows no redirect, and says so", async (t) => {
    const { url, received } = await openReceiver(t, answering(302, { location: "/elsewhere" }));

    await assert.rejects(createOutbound({ allowPrivate: true }).call(post(url)), { code: "bad-config" });

    assert.equal(received.length, 1);
  });

  test("tells what may pass from what is wrong", async (t) => {
    for (const [status, code] of [
      [500, "unavailable"],
      [503, "unavailable"],
      [429, "unavailable"],
      [404, "bad-config"],
      [400, "bad-config"],
      [401, "bad-config"],
    ] as const) {
      const { url } = await openReceiver(t, answering(status));
      await assert.rejects(createOutbound({ allowPrivate: true }).call(post(url)), { code }, String(status));
    }
  });

  test("ends when there is no answer, or one that does not end", async (t) => {
    const silent = await openReceiver(t, () => undefined);
    const dripping = await openReceiver(t, (_, response) => {
      response.writeHead(200).write("a");
    });
    const outbound = createOutbound({ allowPrivate: true, timeoutMs: 100 });

    for (const { url } of [silent, dripping])
      await assert.rejects(outbound.call(post(url)), {
        code: "unavailable",
        message: /it was not done in 100 ms/,
      });
  });

  test("does not read an answer without end", async (t) => {
    const { url } = await openReceiver(t, (_, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (response.write(Buffer.alloc(16_384)));
        response.once("drain", more);
      };
      more();
    });

    await createOutbound({ allowPrivate: true }).call(post(url));
  });

  test("that its caller ends fails with the caller's reason", async (t) => {
    const { url } = await openReceiver(t, () => undefined);
    const reason = new Error("enough");
    const ending = new AbortController();
    setTimeout(() => ending.abort(reason), 50);

    await assert.rejects(
      createOutbound({ allowPrivate: true }).call({ ...post(url), signal: ending.signal }),
      reason,
    );
  });

  test("names only the host when it fails", async () => {
    const url = "http://user:pa55@127.0.0.1:1/T0SECRET?key=T0SECRET";

    await assert.rejects(createOutbound({ allowPrivate: true }).call(post(url)), (error: Error) => {
      assert.match(error.message, /^127\.0\.0\.1:1: ECONNREFUSED$/);
      return true;
    });
  });
});

suite("a call outside, to a private address", () => {
  test("is refused however the address is written, and nothing is connected to", async (t) => {
    const { port, received } = await openReceiver(t);
    const outbound = createOutbound({ allowPrivate: false });

    for (const host of [
      ...["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0"],
      ...["[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[fd00:ec2::254]"],
      ...["169.254.169.254", "10.0.0.1", "192.168.0.1", "１２７.0.0.1"],
      ...["localhost", "LOCALHOST"],
    ])
      await assert.rejects(outbound.call(post(`http://${host}:${port}/`)), { code: "bad-config" }, host);

    assert.equal(received.length, 0);
  });

  test("is refused where a name leads there, by each of its addresses", async () => {
    const asked: string[] = [];
    const resolve = async (name: string) => {
      asked.push(name);
      const private4 = { address: "127.0.0.1", family: 4 };
      return name === "mixed.example" ? [private4, { address: "::ffff:10.0.0.1", family: 6 }] : [private4];
    };
    const outbound = createOutbound({ allowPrivate: false, resolve, timeoutMs: 200 });

    for (const name of ["rebind.example", "mixed.example"])
      await assert.rejects(outbound.call(post(`http://${name}/`)), { code: "bad-config" });

    assert.deepEqual(asked, ["rebind.example", "mixed.example"]);
  });

  test("connects to the very addresses that were checked: the name is asked once", async (t) => {
    const { port, received } = await openReceiver(t);
    let asked = 0;
    const resolve = async () => {
      asked += 1;
      return [{ address: asked === 1 ? "127.0.0.1" : "127.0.0.9", family: 4 }];
    };

    await createOutbound({ allowPrivate: ["NTFY.lan"], resolve }).call(post(`http://ntfy.lan:${port}/t`));

    assert.deepEqual([asked, received[0]?.headers.host], [1, `ntfy.lan:${port}`]);
  });

  test("is allowed to the hosts that the configuration names, and to no other", async (t) => {
    const { url, port, received } = await openReceiver(t);
    const outbound = createOutbound({ allowPrivate: ["127.0.0.1", "::1"] });

    await outbound.call(post(url));
    await assert.rejects(outbound.call(post(`http://localhost:${port}`)), { code: "bad-config" });

    assert.equal(received.length, 1);
  });
});
