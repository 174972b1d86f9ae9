// What a host asks of a bucket before its first manifest: all names, a thousand at a time, once, and nothing for each object.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parseConfig, type ReplicaConfig } from "@pageferry/format";
import { localHost } from "@pageferry/functions/hosts/local";
import { openStore } from "@pageferry/functions/stores/open";
import { startHttpProxy } from "./servers/http-proxy.ts";
import { startS3, withoutS3Server } from "./servers/s3.ts";
import { temporaryDirectory } from "./temporary.ts";

const golden = new URL("golden/replica/data", import.meta.url).pathname;

/** Objects of a generation that nobody asks for: only their names are looked at. */
const otherObjects = 2500;

suite("a cold archive in a bucket", { skip: withoutS3Server }, () => {
  test("is listed by one request for a thousand names when its first manifest is asked for", async (t) => {
    await using directory = await temporaryDirectory();
    await using s3 = await startS3();
    await using proxy = await startHttpProxy(s3.endpoint);
    const written = { type: "s3", ...s3.entry(await s3.makeBucket()), endpoint: proxy.endpoint };
    const entry = parseConfig({ replicas: [written] }).replicas[0] as ReplicaConfig;
    await using store = await openStore(entry);
    const put = async (name: string, bytes: Uint8Array) => {
      await store.put(`app/${name}`, { size: bytes.length, open: () => [bytes] as never });
    };
    let objects = 0;
    for (const item of await readdir(golden, { recursive: true, withFileTypes: true })) {
      if (!item.isFile()) continue;
      const path = join(item.parentPath, item.name);
      await put(path.slice(golden.length + 1), await readFile(path));
      objects += 1;
    }
    const names = Array.from({ length: otherObjects }, (_, at) => {
      const txId = (at + 2).toString(16).padStart(16, "0");
      return `00000000000000aa/segments/${txId}-${txId}-01a203b02866.segment.cbor`;
    });
    for (let at = 0; at < names.length; at += 50)
      await Promise.all(names.slice(at, at + 50).map((name) => put(name, Uint8Array.of(1))));
    objects += names.length;
    const generation = (await readdir(golden)).find((name) => /^[0-9a-f]{16}$/.test(name));
    const asked = proxy.requests.length;

    await using host = await localHost({
      ...{ dataDir: directory.file("data"), databases: [], replicas: [entry] },
      listen: { host: "127.0.0.1", port: 0 },
    });
    const began = performance.now();
    const answer = await fetch(`${host.url}/v1/databases/app/manifest?generation=${generation}`, {
      headers: { authorization: `Bearer ${host.token}` },
    });
    const ms = Math.round(performance.now() - began);

    assert.equal(answer.status, 200, await answer.text());
    const lists = proxy.requests.slice(asked).filter(({ path }) => path.includes("list-type=2"));
    const own = lists.filter(({ path }) => path.endsWith("prefix=app%2F"));
    t.diagnostic(`${objects} objects: ${own.length} lists of the archive, ${lists.length} in all; ${ms} ms`);
    const pages = Math.ceil(objects / 1000);
    assert.equal(own.length, pages);
    // Besides: which databases there are, and what evidence and marks say.
    assert.ok(lists.length <= 2 * pages + 6, lists.map(({ path }) => path).join("\n"));
  });
});
