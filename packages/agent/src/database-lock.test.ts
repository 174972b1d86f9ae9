import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { lockDatabase } from "./database-lock.ts";

async function temporary(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "pageferry-lock-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A process that takes the lock, says so, and stays. */
async function holder(databasePath: string, directory: string): Promise<ChildProcess> {
  const script = `
    import { lockDatabase } from ${JSON.stringify(new URL("./database-lock.ts", import.meta.url).href)};
    await lockDatabase(${JSON.stringify({ databasePath, directory })});
    console.log("held");
    setInterval(() => {}, 1000);
  `;
  const args = [
    "-C",
    "@pageferry/source",
    "--disable-warning=ExperimentalWarning",
    "--input-type=module",
    "-e",
    script,
  ];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    cwd: import.meta.dirname,
  });
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

suite("the lock of a database", () => {
  test("is refused to a second agent with the same shadow directory, and free again once it is closed", async () => {
    await using directory = await temporary();
    const first = await lockDatabase({ databasePath: "/data/a.db", directory: directory.path });

    await assert.rejects(lockDatabase({ databasePath: "/data/b.db", directory: directory.path }), {
      code: "locked",
    });
    await first.close();

    await using second = await lockDatabase({ databasePath: "/data/b.db", directory: directory.path });
    assert.ok(second);
  });

  test("is refused to a second agent of the same database with another shadow directory", async () => {
    await using directory = await temporary();
    const paths = ["one", "two"].map((name) => join(directory.path, name));
    await Promise.all(paths.map((path) => mkdir(path)));
    const databasePath = join(directory.path, "app.db");
    await using first = await lockDatabase({ databasePath, directory: paths[0] ?? "" });
    assert.ok(first);

    const second = lockDatabase({
      databasePath: `${directory.path}/one/../app.db`,
      directory: paths[1] ?? "",
    });

    await assert.rejects(second, { code: "locked", message: new RegExp(`process ${process.pid}`) });
  });

  test("goes to exactly one of many that ask at once", async () => {
    await using directory = await temporary();
    const asked = Array.from({ length: 8 }, (_, index) =>
      lockDatabase({ databasePath: `/data/${index}.db`, directory: directory.path }),
    );

    const answers = await Promise.allSettled(asked);

    const held = answers.filter((answer) => answer.status === "fulfilled");
    assert.equal(held.length, 1);
    await held[0]?.value.close();
  });

  test("is named with its holder's process, and is free at once when that process is killed", async () => {
    await using directory = await temporary();
    // Deeper than a socket's path may be.
    const deep = join(directory.path, "d".repeat(120));
    await mkdir(deep);
    const child = await holder(join(directory.path, "app.db"), deep);
    const options = { databasePath: join(directory.path, "app.db"), directory: deep };

    await assert.rejects(lockDatabase(options), {
      code: "locked",
      message: new RegExp(`process ${child.pid}`),
    });
    child.kill("SIGKILL");
    await once(child, "exit");

    await using lock = await lockDatabase(options);
    assert.ok(lock);
  });
});
