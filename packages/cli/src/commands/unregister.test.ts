import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { boltImage } from "../../../format/testing/bolt-image.ts";
import { runCommand, startCommand, until } from "../../testing/commands.ts";

const bolt = boltImage(new Map([["bucket", new Map([["key", Buffer.from("value")]])]])).bytes;

interface Parted {
  readonly by: string;
  readonly reason: string;
}

suite("pageferry unregister", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-unregister-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const at = (name: string) => join(directory, name);
  const configure = (...names: readonly string[]) =>
    writeFile(
      at("pageferry.yml"),
      `databases: ${JSON.stringify(names.map((name) => at(`${name}.db`)))}\ndataDir: ${at("data")}\nsyncInterval: 50ms\nlisten: { port: 0 }\n`,
    );
  const ask = async (...argv: readonly string[]) => {
    const answer = await runCommand([...argv, "--config", at("pageferry.yml")]);
    assert.equal(answer.code, 0, answer.err);
    return answer;
  };
  /** `up`, once all of these are heard of again. */
  const up = async (...names: readonly string[]) => {
    const running = startCommand(["up", "--config", at("pageferry.yml")]);
    await until("it is ready", () => running.io.said.out);
    await until("they are stored", async () => {
      const now = await partings();
      return names.every((name) => now.get(name) === null);
    });
    return running;
  };
  const partings = async (): Promise<ReadonlyMap<string, Parted | null>> => {
    const { out } = await runCommand(["status", "--data", at("data"), "--json"]);
    const { databases = [] } = JSON.parse(out || "{}") as {
      readonly databases?: readonly {
        readonly name: string;
        readonly txid: string | null;
        readonly parted: Parted | null;
      }[];
    };
    return new Map(databases.flatMap(({ name, txid, parted }) => (txid === null ? [] : [[name, parted]])));
  };

  test("tells the host, whichever way a database is let go; one that comes back is backed up again", async () => {
    for (const name of ["app", "more", "late"]) await writeFile(at(`${name}.db`), bolt);
    await configure("app", "more", "late");
    {
      await using _running = await up("app", "more", "late");
      const told = await ask("unregister", "app");
      assert.match(
        told.out,
        /^app \(.*app\.db\) is backed up no longer; its backups stay, and the host knows\n$/,
      );
      assert.match(told.err, /^note: it is still configured, and comes back at the next reload or start\n$/);
      const now = await partings();
      assert.match(now.get("app")?.by ?? "", /^pageferry unregister on /);
      assert.equal(now.get("more"), null);
      const shown = await runCommand(["status", "--data", at("data")]);
      assert.match(
        shown.out,
        /^app is no longer backed up, since .*, by pageferry unregister on .*; its backups stay$/m,
      );
      await configure("app", "late");
      await ask("reload");
      await until("it is back", async () => (await partings()).get("app") === null);
      assert.equal((await partings()).get("more")?.reason, "unconfigured");
    }
    // It leaves the configuration while nobody is there to see it.
    await configure("app");
    await using _again = await up("app");
    const before = await partings();
    assert.deepEqual([before.get("more")?.reason, before.get("late")], ["unconfigured", null]);

    const late = await ask("unregister", "late", "--json");

    const { path, origin, isTold } = JSON.parse(late.out);
    assert.deepEqual([path, origin, isTold], [null, null, true]);
    assert.equal((await partings()).get("late")?.reason, "unregistered");
    const unknown = await runCommand(["unregister", "nobody", "--config", at("pageferry.yml")]);
    assert.equal(unknown.code, 3, unknown.err);
    const points = await runCommand(["points", at("data/replica/late")]);
    assert.equal(points.code, 0, "its backups stay");
  });

  test("says so when the host is away, and tells it when it is back", async () => {
    await writeFile(at("app.db"), bolt);
    const host = startCommand(["serve", "--port", "0", "--data", at("data")]);
    await until("the host is ready", () => host.io.said.out);
    const port = /:(\d+)/.exec(host.io.said.out)?.[1] ?? "";
    const env = { PAGEFERRY_TOKEN: (await readFile(at("data/token"), "utf8")).trim() };
    await using agent = startCommand(
      ["replicate", at("app.db"), "--host", `http://127.0.0.1:${port}`, "--shadow", at("shadow")],
      env,
    );
    await until("it is ready", () => agent.io.said.out);
    await until("it is stored", async () => (await partings()).get("app") === null);
    await host.stop();

    const away = await runCommand(["unregister", "app", "--shadow", at("shadow")]);
    await using _back = startCommand(["serve", "--port", port, "--data", at("data")]);
    await until("the host is back", async () => (await partings()).has("app"));
    const told = await runCommand(["unregister", "app", "--shadow", at("shadow")]);

    assert.equal(away.code, 0, away.err);
    assert.match(away.err, /^warning: the host could not be told yet/);
    assert.equal(told.code, 0, told.err);
    assert.equal(told.out, "app is backed up no longer; its backups stay, and the host knows\n");
    assert.equal((await partings()).get("app")?.reason, "unregistered");
  });
});
