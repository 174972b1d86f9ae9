import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PageferryError, parseDatabaseName } from "@pageferry/format";
import { Hono } from "hono";
import { firstLine, packItem, segmentItem, snapshotItem } from "../testing/bolt-archive.ts";
import { createBoltModel } from "../testing/bolt-model.ts";
import { guardRoutes } from "./access.ts";
import { addInspectRoutes } from "./inspect-api.ts";
import { createLooks, type InspectUse } from "./inspect-looks.ts";
import { inspectLsRoute } from "./inspect-schema.ts";
import { problemOf } from "./problem.ts";
import { createReplica } from "./replica.ts";
import { type Scope, scopes } from "./scopes.ts";
import { memoryStore } from "./stores/memory.ts";

const model = createBoltModel({ hasFreelist: true });
for (let id = 2; id <= 12; id += 1) model.commit([{ key: id % 6, letter: 96 + id, overflow: id % 3 }]);
const line = firstLine(model, "a1", (id) => id * 1000);

/** The routes over a replica of the model's history: a snapshot, a segment, a pack, a range. */
async function apiOf(options: { readonly isOn?: boolean; readonly grants?: readonly Scope[] } = {}) {
  const { isOn = true, grants = scopes } = options;
  const replica = createReplica(memoryStore(), { root: "app" });
  const items = [
    await snapshotItem(line, 1),
    segmentItem(line, 1, 2),
    packItem(line, [2, 3, 4, 5, 6, 7]),
    segmentItem(line, 7, 10),
    segmentItem(line, 10, 12),
  ];
  await replica.begin(line.begin, 0);
  await replica.putAll(line.generation, items, { pack: false });
  const uses: InspectUse[] = [];
  const leases: unknown[] = [];
  const lists: number[] = [];
  const reader: typeof replica.reader = {
    ...replica.reader,
    list(options) {
      lists.push(1);
      return replica.reader.list(options);
    },
  };
  const app = new Hono();
  app.onError((error) => {
    const { status, headers, body } = problemOf(error, { isAboutRequest: false, requestId: "id" });
    return new Response(body, { status, headers });
  });
  guardRoutes(app, async () => ({ id: "token", scopes: new Set(grants), databases: "*" }));
  addInspectRoutes(
    app,
    createLooks({
      inspect: isOn ? { onUse: (use) => void uses.push(use) } : undefined,
      lease: async (_database, point) => void leases.push(point),
    }),
    {
      async placeOf(context) {
        const database = parseDatabaseName(context.req.param("database") ?? "");
        if (database !== "app") throw new PageferryError("not-found", "no such database");
        return { database, readers: [reader] };
      },
    },
  );
  const get = async (path: string, headers: Record<string, string> = {}) =>
    app.request(`/v1/databases/app/inspect/${path}`, { headers });
  return { app, get, uses, leases, lists, replica };
}

const json = async (answer: Response) => (await answer.json()) as Record<string, unknown>;

suite("looking inside over HTTP", () => {
  test("shows each value as it was at every point: the newest, in packs, and inside of ranges where there is one", async () => {
    const { get } = await apiOf();

    for (const id of [1, 2, 3, 4, 5, 6, 7, 10, 12]) {
      for (let key = 0; key < 6; key += 1) {
        const answer = await get(`get?txid=${id}&key=hex:0${key}`);
        const bytes = new Uint8Array(await answer.arrayBuffer());

        const last = Array.from({ length: id }, (_, at) => id - at).find((at) => at > 1 && at % 6 === key);
        assert.equal(answer.status, 200);
        assert.equal(bytes.length, ((last ?? 0) % 3) * 512 + 64, `key ${key} at ${id}`);
        assert.ok(bytes.every((byte) => byte === (last === undefined ? 0 : 96 + last)));
      }
    }
  });

  test("lists by parts, and says which point it was", async () => {
    const { get } = await apiOf();

    const first = await json(await get("ls?limit=4"));
    const next = await json(
      await get(`ls?limit=4&after=${first.next}&txid=12&generation=${first.generation}`),
    );

    assert.deepEqual(
      first.entries,
      [0, 1, 2, 3].map((key) => {
        const last = key === 0 ? 12 : key + 6;
        return { key: `hex:0${key}`, kind: "key", bytes: (last % 3) * 512 + 64 };
      }),
    );
    assert.doesNotThrow(() => inspectLsRoute.answers[200].strict().parse(first));
    assert.equal(first.txid, "000000000000000c");
    assert.equal(first.time, new Date(12_000).toISOString());
    assert.deepEqual([(next.entries as unknown[]).length, next.next], [2, null]);
  });

  test("is told with the point, the depth and the token, and nothing of what was looked at", async () => {
    const { get, uses } = await apiOf();

    await get("get?key=hex:01");
    await get("ls?path=secret/hex:00ff");

    const { generation } = line;
    const use = { database: "app", generation, txid: "000000000000000c", token: "token" };
    assert.deepEqual(uses, [
      { ...use, depth: 0, call: "get" },
      { ...use, depth: 2, call: "ls" },
    ]);
  });

  test("holds a point that was named: it is listed and leased once, and opened anew when its objects went", async () => {
    const { get, lists, leases, replica } = await apiOf();
    const point = `txid=12&generation=${line.generation}`;

    for (const key of ["hex:00", "hex:01", "hex:ff"]) await get(`get?${point}&key=${key}`);
    assert.deepEqual([lists.length, leases.length], [1, 1]);
    for await (const { name } of replica.reader.list())
      if (name.includes("/segments/")) await replica.objects.remove([name]);
    const again = segmentItem(line, 1, 12);
    await replica.objects.put(again.name.name, again.body as Uint8Array);

    const answer = await get(`get?${point}&key=hex:05`);
    assert.equal(answer.status, 200);
  });

  test("gives a part of a value, and refuses a range outside of it", async () => {
    const { get } = await apiOf();

    const part = await get("get?txid=12&key=hex:05", {
      range: "bytes=500-1023",
    });
    assert.equal(part.status, 206);
    assert.equal(part.headers.get("content-range"), "bytes 500-1023/1088");
    assert.equal((await part.arrayBuffer()).byteLength, 524);
    const outside = await get("get?key=hex:05", { range: "bytes=1088-" });
    assert.equal(outside.status, 416);
    assert.equal(outside.headers.get("content-range"), "bytes */1088");
  });

  test("never lets a value be shown as a page", async () => {
    const { get } = await apiOf();

    const { headers } = await get("get?key=hex:05");

    assert.equal(headers.get("content-type"), "application/octet-stream");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.match(headers.get("content-disposition") ?? "", /^attachment/);
    assert.equal(headers.get("cache-control"), "no-store");
  });

  test("is off unless it is turned on, and the hint says how", async () => {
    const { get, uses } = await apiOf({ isOn: false });

    for (const path of ["ls", "get?key=a"]) {
      const answer = await get(path);
      assert.equal(answer.status, 403);
      assert.match(String((await json(answer)).hint), /inspect: true/);
    }
    assert.deepEqual(uses, []);
  });

  test("is for tokens with its own scope alone", async () => {
    const { get } = await apiOf({ grants: scopes.filter((scope) => scope !== "inspect") });

    assert.equal((await get("ls")).status, 403);
    assert.equal((await get("get?key=a")).status, 403);
  });

  for (const path of [
    "ls?limit=0",
    "ls?limit=1001",
    "ls?limit=x",
    "ls?path=//",
    "ls?path=hex:0",
    "ls?after=hex:zz",
    `ls?path=${"a/".repeat(70)}a`,
    "get",
    "get?key=",
    "get?key=hex:",
  ]) {
    test(`refuses what makes no sense: ${path.slice(0, 30)}`, async () => {
      const answer = await (await apiOf()).get(path);

      assert.equal(answer.status, 400);
    });
  }

  for (const path of ["ls?path=../../etc", "get?key=passwd&path=..", "get?key=%09", "get?key=<script>"]) {
    test(`finds nothing where there is nothing, and does not repeat it: ${path}`, async () => {
      const answer = await (await apiOf()).get(path);

      assert.equal(answer.status, 404);
      assert.doesNotMatch(await answer.text(), /etc|passwd|script/);
    });
  }
});
