import assert from "node:assert/strict";
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { fillDisk, inChild, runOnSmallDisk } from "../testing/small-disk.ts";
import { openCursor } from "./cursor.ts";
import { becomeReserve, keepReserve, writeWithReserve } from "./reserve.ts";

const scenarios: Readonly<Record<string, (directory: string) => Promise<void>>> = {
  "takes a file as often as it is written, and gives its room to nobody": async (directory) => {
    const [path, reserve, filler] = ["cursor", "reserve", "filler"].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    await writeWithReserve(path, Buffer.alloc(4000, "a"), reserve);
    await keepReserve(reserve, 8000);

    for (const letter of "bcde") {
      await fillDisk(filler);
      await writeWithReserve(path, Buffer.alloc(4096, letter), reserve);
      assert.equal(await readFile(path, "utf8"), letter.repeat(4096));
    }

    assert.deepEqual((await readdir(directory)).sort(), ["cursor", "filler", "reserve"]);
  },

  "that is missing leaves what was there, whole": async (directory) => {
    const [path, reserve] = [join(directory, "cursor"), join(directory, "reserve")];
    await writeFile(path, "old");
    await fillDisk(join(directory, "filler"));

    await assert.rejects(writeWithReserve(path, Buffer.alloc(4096), reserve), { code: "disk-full" });

    assert.equal(await readFile(path, "utf8"), "old");
    assert.deepEqual((await readdir(directory)).sort(), ["cursor", "filler"]);
  },

  "that is too small leaves what was there, whole": async (directory) => {
    const [path, reserve] = [join(directory, "cursor"), join(directory, "reserve")];
    await writeFile(path, "old");
    await keepReserve(reserve, 4096);
    await fillDisk(join(directory, "filler"));

    await assert.rejects(writeWithReserve(path, Buffer.alloc(16_384), reserve), { code: "disk-full" });

    assert.equal(await readFile(path, "utf8"), "old");
  },

  "is never written to by two at once": async (directory) => {
    const filler = join(directory, "filler");
    const store = await openCursor(directory);
    store.update({ stampMs: 1 });
    await store.save();
    await store.keepRoom();
    await fillDisk(filler);

    for (let stampMs = 2; stampMs < 200; stampMs += 1) {
      store.update({ stampMs });
      const reserved = store.save("reserved");
      for (let turn = 0; turn < stampMs % 25; turn += 1) await yieldToEvents();
      await Promise.all([reserved, store.keepRoom()]);
      assert.equal((await openCursor(directory)).value().stampMs, stampMs);
    }
  },

  "leaves half of the disk to others, also where it is to be larger than memory, and kept again and again":
    async (directory) => {
      const reserve = join(directory, "reserve");

      for (let time = 0; time < 10; time += 1) await keepReserve(reserve, 8 * 2 ** 30);

      const { size } = await stat(reserve);
      assert.ok(size > 100_000 && size <= 131_072, `half of what there is: ${size}`);
      await writeFile(join(directory, "shadow"), Buffer.alloc(100_000));
    },

  "is kept as far as there is room, and made of a file that is not needed any more": async (directory) => {
    const [old, reserve] = [join(directory, "old"), join(directory, "reserve")];
    await writeFile(old, Buffer.alloc(8192));
    await fillDisk(join(directory, "filler"));
    await becomeReserve(old, reserve);
    await keepReserve(reserve, 1e6);
    assert.equal((await stat(reserve)).size, 8192);

    await rm(join(directory, "filler"));
    await keepReserve(reserve, 1e6);

    const { size } = await stat(reserve);
    assert.ok(size > 100_000 && size <= 131_072, `half of what there is: ${size}`);
    await writeWithReserve(old, Buffer.alloc(size), reserve);
    await becomeReserve(join(directory, "none"), reserve);
  },
};

if (inChild !== undefined) {
  const run = scenarios[inChild.scenario];
  assert.ok(run);
  await run(inChild.directory);
} else {
  suite("room that is kept on a full disk", () => {
    for (const name of Object.keys(scenarios))
      test(name, () => runOnSmallDisk(import.meta.filename, name, "256k"));
  });
}
