import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { until } from "../../testing/commands.ts";
import { createDirectoryEvents } from "./directory-events.ts";

suite("what the file system tells of directories", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "pageferry-events-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  function listening() {
    let count = 0;
    const entry = { dir: root, pattern: "*.db", recursive: false, watch: true };
    const events = createDirectoryEvents(entry, () => {
      count += 1;
    });
    return { events, count: () => count };
  }

  test("is a file that comes, and not one that no pattern fits", async () => {
    const { events, count } = listening();
    using _ = events;
    events.listen([root], new Set());
    await writeFile(join(root, "a.txt"), "");
    await writeFile(join(root, "a.db"), "");

    await until("an event", async () => count() > 0);
  });

  test("is heard also of a directory that went and came again under its name", async () => {
    const directory = join(root, "sub");
    await mkdir(directory);
    const { events, count } = listening();
    using _ = events;
    events.listen([root, directory], new Set());
    await rm(directory, { recursive: true });
    await mkdir(directory);
    events.listen([root, directory], new Set());
    const before = count();
    await writeFile(join(directory, "a.db"), "");

    await until("an event", async () => count() > before);
  });
});
