import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parseGeneration, txId } from "@pageferry/format";
import {
  assertAllRestore,
  movableFile,
  pointsOf,
  startBench,
  temporary,
  until,
} from "../testing/agent-bench.ts";
import { startTinyHost } from "../testing/tiny-host.ts";
import { noteRestored, readRestored } from "./restored-note.ts";

const elsewhere = { generation: parseGeneration("00000000000000ee"), txId: txId(40) };

suite("an agent whose database was restored", () => {
  test("begins a generation that names the point as its parent, on a machine that never had it", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    file.set(40);
    await noteRestored(join(directory.path, "shadow/app"), elsewhere);

    await using bench = await startBench(host, directory.path, file);
    await bench.settled();
    file.commit(3);
    await bench.settled();

    assert.deepEqual(
      [...host.begins.values()].map(({ reason, parent }) => [reason, parent]),
      [["restored", elsewhere]],
    );
    await assertAllRestore(host, bench.generation(), file.model, [40, ...pointsOf(host, bench.generation())]);
  });

  test("names it also where its own past ends elsewhere, and goes on in that generation from then on", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const own = join(directory.path, "shadow/app");
    {
      await using bench = await startBench(host, directory.path, file);
      file.commit(9);
      await bench.settled();
    }
    // Restored is the very state that this machine left, which would otherwise be gone on with.
    const [first] = [...host.begins.values()].map(({ generation }) => generation);
    const point = { generation: first ?? assert.fail(), txId: txId(file.newest()) };
    await noteRestored(own, point);
    for (const restart of [1, 2]) {
      await using bench = await startBench(host, directory.path, file);
      await until("it runs", () => bench.status().acknowledgedTxId !== null);
      file.commit(restart);
      await bench.settled();
    }

    assert.deepEqual(
      [...host.begins.values()].map(({ reason, parent }) => [reason, parent]),
      [
        ["first", null],
        ["restored", point],
      ],
    );
    assert.equal(await readRestored(own), null);
  });

  test("is told of a note that cannot be read, and backs up all the same", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const own = join(directory.path, "shadow/app");
    await noteRestored(own, elsewhere);
    await writeFile(join(own, "restored.json"), "{");

    const told: string[] = [];
    const [debug, error] = [() => {}, () => {}];
    const logger = {
      debug,
      info: debug,
      error,
      warn: (_: object, message: string) => void told.push(message),
    };

    await using bench = await startBench(host, directory.path, movableFile(), { logger });
    await bench.settled();

    assert.match(told.join("\n"), /restored\.json: it is no note of a restore/);
  });
});

suite("an agent without a source", () => {
  test("sends what the shadow holds, and captures nothing", async () => {
    await using directory = await temporary();
    const file = movableFile();
    await using host = await startTinyHost();
    let generation = "";
    {
      await using bench = await startBench(host, directory.path, file);
      await bench.settled();
      generation = bench.generation();
      host.intercept = () => ({ status: 503 });
      file.commit(5);
      await until("it is in the shadow", () => bench.status().shadowedTxId === BigInt(file.newest()));
      await bench.agent.stop({ deadlineMs: 50 });
    }
    file.commit(5);
    host.intercept = () => undefined;
    await using bench = await startBench(host, directory.path, file, { openSource: null });

    await bench.agent.stop({ deadlineMs: 10_000 });

    assert.deepEqual(pointsOf(host, parseGeneration(generation)).at(-1), file.newest() - 5);
    assert.equal(bench.status().acknowledgedTxId, BigInt(file.newest() - 5));
    assert.ok((await readdir(join(directory.path, "shadow/app"))).includes(generation));
  });
});
