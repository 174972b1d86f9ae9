import assert from "node:assert/strict";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parseConfig } from "@pageferry/format";
import { temporary, until } from "../../testing/agent-bench.ts";
import { createPageStore } from "../../testing/page-store.ts";
import { startTinyHost } from "../../testing/tiny-host.ts";
import { createHttpQueue } from "../queues/http.ts";
import { createController } from "./controller.ts";
import { observer } from "./observer.ts";

suite("an observer's registration", () => {
  test("is refused with replicas and no queue, and names localHost(config)", () => {
    const config = parseConfig({ replicas: [{ type: "file", path: "replica" }] });

    assert.throws(
      () => observer(config),
      ({ code, message, hint }: { code: string; message: string; hint: string }) =>
        code === "bad-config" && message.includes("replicas") && hint.includes("localHost(config)"),
    );
    assert.throws(() => createController(createPageStore({ path: "app.db" }), { config }), {
      code: "bad-config",
    });
    assert.throws(() => observer({}), { code: "bad-config" });
  });

  test("sends to the queue that the configuration names, under the name it gives", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const path = join(directory.path, "app.db");
    const store = createPageStore({ path });
    const config = parseConfig({
      ...{
        databases: [{ path, name: "orders" }],
        queue: host.url,
        shadowDir: join(directory.path, "shadow"),
      },
      ...{ syncInterval: "20ms", snapshotInterval: "1h", compression: "none", dataLossWindowThreshold: "5s" },
    });
    await using registration = observer(config);
    const { onPageFlush, status } = await registration.start(store);

    onPageFlush(store.commit());

    await until("it at the host", () => status()?.acknowledgedTxId === BigInt(store.newest()));
    assert.equal(status()?.name, "orders");
    assert.deepEqual([...new Set(host.envelopes.map(({ database }) => database))], ["orders"]);
  });

  test("keeps its shadow where the Go implementation does, unless told", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const store = createPageStore({ path: join(directory.path, "app.db") });
    const queue = createHttpQueue({ url: host.url });
    await using registration = observer({}, { queue });
    const controller = await registration.start(store);
    await using another = observer({ shadowDir: join(directory.path, "stream") }, { queue });

    await assert.rejects(another.start(store), { code: "locked" });

    await until("a snapshot", () => controller.status()?.acknowledgedTxId === BigInt(store.newest()));
  });

  test("observes several databases, closes them all, and starts none after that", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const stores = ["one", "two"].map((name) =>
      createPageStore({ path: join(directory.path, `${name}.db`) }),
    );
    const registration = observer({ syncIntervalMs: 20 }, { queue: createHttpQueue({ url: host.url }) });
    const controllers = await Promise.all(stores.map((store) => registration.start(store)));
    for (const [index, store] of stores.entries()) controllers[index]?.onPageFlush(store.commit());

    await registration.close();

    for (const controller of controllers) {
      assert.equal(controller.status()?.state, "stopped");
      assert.equal(controller.status()?.acknowledgedTxId, 3n);
    }
    await assert.rejects(registration.start(stores[0] as never), { code: "unavailable" });
  });
});
