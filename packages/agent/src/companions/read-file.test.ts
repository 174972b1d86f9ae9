import assert from "node:assert/strict";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { companionBytesMax } from "@pageferry/format";
import { temporary } from "../../testing/agent-bench.ts";
import { printOf, readWhole } from "./read-file.ts";

suite("reading a companion file", () => {
  test("gives all of it or says that it is busy while it is written in place, and never a mixture", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "file");
    await writeFile(path, Buffer.alloc(companionBytesMax, "a"));
    await using handle = await open(path, "r+");
    let isOver = false;
    const writing = (async () => {
      for (let round = 0; !isOver; round += 1) {
        await handle.write(
          Buffer.alloc(companionBytesMax, round % 2 === 0 ? "b" : "a"),
          0,
          companionBytesMax,
          0,
        );
      }
    })();
    const kinds = new Set<string>();
    for (let round = 0; round < 8; round += 1) {
      const reading = await readWhole(path);
      kinds.add(reading.kind);
      if (reading.kind !== "file") continue;
      const [first] = reading.bytes;
      assert.ok(
        reading.bytes.every((byte) => byte === first),
        "a mixture",
      );
    }
    isOver = true;
    await writing;

    assert.ok(kinds.has("busy"), "it was found busy at least once");
    assert.equal((await readWhole(path)).kind, "file");
  });

  test("gives it whole also where another one takes its name meanwhile", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "file");
    const next = join(directory.path, "next");
    await writeFile(path, "first");
    let isOver = false;
    const renaming = (async () => {
      while (!isOver) {
        await writeFile(next, "second");
        await rename(next, path);
      }
    })();
    for (let round = 0; round < 30; round += 1) {
      const reading = await readWhole(path);
      assert.equal(reading.kind, "file");
      if (reading.kind === "file") assert.match(Buffer.from(reading.bytes).toString(), /^(first|second)$/);
    }
    isOver = true;
    await renaming;
  });

  test("tells what is gone from what cannot be read, and what is no file from both", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "file");

    assert.deepEqual([(await printOf(path)).kind, (await readWhole(path)).kind], ["gone", "gone"]);
    assert.deepEqual(
      [(await printOf("/dev/null")).kind, (await readWhole("/dev/null")).kind],
      ["other", "other"],
    );
    await writeFile(path, Buffer.alloc(companionBytesMax + 1));
    assert.deepEqual([(await printOf(path)).kind, (await readWhole(path)).kind], ["file", "too-large"]);
    await rm(path);
    const below = join(path, "x");
    await writeFile(path, "");
    assert.equal((await printOf(below)).kind, "gone");
  });
});
