import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { createKeptFiles } from "./kept-files.ts";

const hourMs = 3_600_000;

suite("the files that were found", () => {
  let root: string;
  let nowMs: number;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "pageferry-kept-"));
    nowMs = 0;
  });
  afterEach(() => rm(root, { recursive: true }));

  const file = (name: string) => ({ name, path: join(root, name), id: `1:${name}` });
  const found = (...names: readonly string[]) => ({
    ...{ files: names.map(file), others: [], directories: [root], problem: undefined },
  });
  const keep = (...names: readonly string[]) =>
    createKeptFiles({ known: names.map(file), goneMs: hourMs, nowMs: () => nowMs });
  const seen = { isReload: false };
  const namesOf = (kept: ReturnType<typeof keep>) => kept.all().map(({ name }) => name);

  test("stay for an hour after they are gone, or until a reload", async () => {
    const kept = keep("a", "b");

    await kept.take(found("b"), seen);
    nowMs = hourMs - 1;
    await kept.take(found("b"), seen);
    assert.deepEqual(namesOf(kept), ["a", "b"]);
    nowMs = hourMs;
    await kept.take(found("b"), seen);
    assert.deepEqual(namesOf(kept), ["b"]);
    await kept.take(found(), { isReload: true });
    assert.deepEqual(namesOf(kept), []);
  });

  test("that come back begin their hour anew", async () => {
    const kept = keep("a");

    await kept.take(found(), seen);
    nowMs = hourMs - 1;
    await kept.take(found("a"), seen);
    await kept.take(found(), seen);
    nowMs = 2 * hourMs - 2;
    await kept.take(found(), seen);

    assert.deepEqual(namesOf(kept), ["a"]);
  });

  test("stay where they are there and were not found: damaged, or beyond a bound", async () => {
    const kept = keep("a");
    await writeFile(file("a").path, "damaged");

    await kept.take(found(), { isReload: true });

    assert.deepEqual(namesOf(kept), ["a"]);
  });

  test("stay where their directory is not there, as on a disk that is not mounted", async () => {
    const kept = keep("a");

    await kept.take({ ...found(), directories: [] }, { isReload: true });
    nowMs = 9 * hourMs;
    await kept.take({ ...found(), directories: [] }, seen);

    assert.deepEqual(namesOf(kept), ["a"]);
  });
});
