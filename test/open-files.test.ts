// More databases than a process may open files for: nothing falls over, and it is said before it would.
import assert from "node:assert/strict";
import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { runWriter } from "./go-apps.ts";
import { pageferry, pageferryCommand } from "./pageferry.ts";
import { runProcess, startProcess } from "./processes.ts";
import { type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

/** Enough for 42 databases, with 128 to spare. */
const openFiles = 256;
const enoughFor = 42;

/** The command in a process that may open so many files and no more. */
function limited(args: readonly string[]): readonly [string, string[]] {
  const [program, rest] = pageferryCommand(args);
  return ["bash", ["-c", `ulimit -n ${openFiles}; exec "$@"`, "limited", program, ...rest]];
}

async function withDatabases(directory: TemporaryDirectory, count: number): Promise<string[]> {
  await mkdir(directory.file("apps"));
  const first = directory.file("first.db");
  await runWriter({ path: first, count: 2 });
  const paths = Array.from({ length: count }, (_, at) => directory.file("apps", `db${10 + at}.db`));
  for (const path of paths) await copyFile(first, path);
  return paths;
}

suite("more databases than open files", () => {
  test("are refused at the start where they are named, and nothing is begun", async () => {
    await using directory = await temporaryDirectory();
    const paths = await withDatabases(directory, enoughFor + 1);

    const args = ["up", ...paths, "--data", directory.file("data"), "--port", "0"];
    const { code, stderr } = await runProcess(...limited(args), { timeoutMs: 60_000 });

    assert.equal(code, 2, stderr);
    assert.match(stderr, /^error: databases: 43 of them, and 256 open files are enough for 42$/m);
    assert.match(stderr, /^hint: Raise the limit of open files/m);
    assert.deepEqual(await readdir(directory.file("data/replica")).catch(() => []), []);
  });

  test("are backed up as far as it goes where they are found, with an alarm for the rest", async () => {
    await using directory = await temporaryDirectory();
    await withDatabases(directory, enoughFor + 8);
    const config = directory.file("pageferry.yml");
    await writeFile(
      config,
      `databases: [{ dir: ${directory.file("apps")} }]\ndataDir: ${directory.file("data")}\nlisten: { port: 0 }\n`,
    );

    await using running = startProcess(...limited(["up", "--config", config]));
    await running.line(/^alarm: bad-config: .*more than 42 databases match .* the others are not backed up$/);
    await running.line(/^hint: Raise the limit of open files/);
    await running.line(/^ready at /);
    const stored = async () => (await readdir(directory.file("data/replica")).catch(() => [])).length;
    await until("as many as it goes are stored", async () => (await stored()) >= enoughFor);

    const more = directory.file("more.db");
    await copyFile(directory.file("first.db"), more);
    const registered = await pageferry(["register", more, "--config", config]);
    assert.equal(registered.code, 2);
    assert.match(registered.stderr, /^error: .*43 of them, and 256 open files are enough for 42/);

    assert.equal(await stored(), enoughFor);
    assert.doesNotMatch(running.output(), /EMFILE|unexpected/);
    assert.equal((await running.stop()).code, 0, running.output());
  });
});
