// Listings of servers that send names alone, as some do where OpenSSH sends attributes, too: each answer by hand.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { Socket } from "node:net";
import { suite, type TestContext, test } from "node:test";
import { slots } from "../slots.ts";
import { openRequests } from "./sftp-connection.ts";
import { listPlace } from "./sftp-list.ts";
import type { SftpPlace } from "./sftp-place.ts";

type Answer = (error?: Error | null, value?: unknown) => void;

const refusal = (code: number) => Object.assign(new Error("refused"), { code });
const file = { mode: 0o100600, size: 3, mtime: 1 };
const directory = { mode: 0o040700, size: 0, mtime: 1 };

/** A place whose server lists these names, without a word on them; `look` answers when one is asked for. */
function placeOf(
  t: TestContext,
  names: readonly string[],
  look: (name: string) => number | typeof file,
  opened: number | undefined = undefined,
) {
  const looked: string[] = [];
  let underWay = 0;
  let mostUnderWay = 0;
  const left = [...names];
  const session = Object.assign(new EventEmitter(), {
    opendir: (_path: string, answer: Answer) =>
      setImmediate(() => answer(opened === undefined ? null : refusal(opened), Buffer.from("handle"))),
    readdir: (_handle: Buffer, answer: Answer) => {
      const part = left.splice(0, 10).map((filename) => ({ filename, longname: filename, attrs: {} }));
      setImmediate(() => (part.length === 0 ? answer(refusal(1)) : answer(null, part)));
    },
    lstat: (path: string, answer: Answer) => {
      const name = path.slice(path.lastIndexOf("/") + 1);
      looked.push(name);
      underWay += 1;
      mostUnderWay = Math.max(mostUnderWay, underWay);
      setImmediate(() => {
        underWay -= 1;
        const found = look(name);
        if (typeof found === "number") answer(refusal(found));
        else answer(null, found);
      });
    },
    stat: (_path: string, answer: Answer) => setImmediate(() => answer(null, directory)),
    close: (_handle: Buffer, answer: Answer) => setImmediate(() => answer(null)),
    end: () => undefined,
  });
  const connection = openRequests(session as never, new Socket(), { name: "by hand", timeoutMs: 5000 });
  t.after(() => connection.end());
  const place: SftpPlace = {
    root: "/root",
    connect: async () => connection,
    writes: slots(1),
    reads: slots(1),
    sweep: false,
    now: Date.now,
    known: new Map(),
    writing: new Set(),
    links: "untried",
  };
  return { place, looked, most: () => mostUnderWay };
}

const namesOf = async (place: SftpPlace) =>
  (await Array.fromAsync(listPlace(place, "", {}))).map(({ name }) => name);

suite("a listing of a server that sends names alone", () => {
  test("leaves out what vanished meanwhile, and nothing else", async (t) => {
    const names = Array.from({ length: 100 }, (_, index) => `${index}`.padStart(3, "0"));
    const { place, most } = placeOf(t, names, (name) => (name === "050" ? 2 : file));

    assert.deepEqual(
      await namesOf(place),
      names.filter((name) => name !== "050"),
    );
    assert.ok(most() > 1 && most() <= 16, `${most()} at a time`);
  });

  test("does not look at what writers have under way", async (t) => {
    const { place, looked } = placeOf(t, [".pageferry-1-00.tmp", "a"], () => file);

    assert.deepEqual(await namesOf(place), ["a"]);
    assert.deepEqual(looked, ["a"]);
  });

  test("is an error where one of them may not be looked at", async (t) => {
    const { place } = placeOf(t, ["a", "b"], (name) => (name === "b" ? 3 : file));

    await assert.rejects(namesOf(place), { code: "unauthorized" });
  });

  test("is empty where there is no such directory", async (t) => {
    assert.deepEqual(await namesOf(placeOf(t, ["a"], () => file, 2).place), []);
    await assert.rejects(namesOf(placeOf(t, ["a"], () => file, 3).place), { code: "unauthorized" });
  });
});
