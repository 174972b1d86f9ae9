import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentStatus, UnregisterOptions } from "@pageferry/agent";
import { type DatabaseConfig, PageferryError, parseConfig } from "@pageferry/format";
import { boltImage } from "../../../format/testing/bolt-image.ts";
import { capturedIo } from "../../testing/captured-io.ts";
import { createLog } from "../log.ts";
import type { Speaker } from "./farewells.ts";
import { createFleet } from "./fleet.ts";
import { openLookers } from "./open-lookers.ts";

const bolt = boltImage(new Map([["bucket", new Map([["key", Buffer.from("value")]])]])).bytes;

suite("the databases of a running agent", () => {
  let root: string;
  let calls: string[];
  let told: string[];
  let refused: Set<string>;
  let stuck: Set<string>;
  /** Those of which the host takes nothing. */
  let deaf: Set<string>;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "pageferry-fleet-"));
    [calls, told, refused, stuck, deaf] = [[], [], new Set(), new Set(), new Set()];
  });
  afterEach(() => rm(root, { recursive: true }));

  const at = (name: string) => join(root, name);
  const write = (name: string) => writeFile(at(name), bolt);
  /** An agent that keeps the orders that it gets. */
  const agent = {
    async register(database: string | Pick<DatabaseConfig, "name" | "path">) {
      const name = typeof database === "string" ? database : database.name;
      if (refused.has(name)) throw new PageferryError("locked", `${name}: another agent has it`);
      calls.push(`+${name}`);
    },
    async unregister(name: string, { farewell }: UnregisterOptions = {}) {
      if (stuck.has(name)) throw new PageferryError("disk-full", `${name}: its shadow cannot be closed`);
      calls.push(`-${name}${farewell === undefined ? "" : ` ${farewell}`}`);
      return { isTold: farewell === undefined || !deaf.has(name) };
    },
    status: (): AgentStatus => ({ queue: "", databases: [] }),
  };
  /** A shadow that has something of `past`, and a host that may be away. */
  const speaker: Speaker = {
    knows: async (name) => name === "past" || deaf.has(name),
    async say(name, farewell) {
      if (stuck.has(name)) throw new PageferryError("disk-full", `${name}: its cursor cannot be saved`);
      if (deaf.has(name)) return false;
      calls.push(`said ${name} ${farewell}`);
      return true;
    },
  };
  const taken = () => calls.splice(0).sort();
  async function fleetOf(databases: readonly unknown[]) {
    const log = createLog(capturedIo());
    const config = parseConfig({ databases });
    const lookers = openLookers(config, { dataDir: at("data"), log });
    for (const looker of lookers) await looker.look();
    const fleet = createFleet({
      ...{ agent, config, lookers, log, speaker, againMs: 20 },
      openLookers: (next, before) => openLookers(next, { dataDir: at("data"), log, before }),
      teller: {
        raised: ({ code, database }) => told.push(`${code} ${database}`),
        cleared: ({ code, database }) => told.push(`over ${code} ${database}`),
        letGo: (database) => told.push(`let go ${database}`),
      },
    });
    await fleet.start();
    return { ...fleet, [Symbol.asyncDispose]: fleet.stop };
  }
  const watched = () => ({ dir: root, watch: true });

  test("are at first those that were found, beside those that it started with", async () => {
    await write("app.db");
    await write("found.db");
    await using fleet = await fleetOf([at("app.db"), watched()]);

    assert.deepEqual(taken(), ["+found"]);
    assert.deepEqual(
      fleet.members().map(({ name, origin }) => [name, origin]),
      [
        ["app", "configured"],
        ["found", "found"],
      ],
    );
  });

  test("are registered once, whoever asks, and let go with what was told of them", async () => {
    await write("found.db");
    await using fleet = await fleetOf([watched()]);
    taken();

    const [first, second] = await Promise.all([
      fleet.register(at("x/more.db")),
      fleet.register(at("x/more.db")),
    ]);
    const known = await fleet.register(at("found.db"));
    await assert.rejects(fleet.register(at("y/more.db")), { code: "exists" });
    await assert.rejects(fleet.register(at("found.db"), "other"), { code: "exists" });
    await assert.rejects(fleet.register(at("a b.db")), { code: "bad-name" });
    await fleet.unregister("more");
    await assert.rejects(fleet.unregister("more"), { code: "not-found" });

    assert.deepEqual([first.isNew, second.isNew, known.isNew], [true, false, false]);
    assert.deepEqual(taken(), ["+more", "-more unregistered"]);
    assert.deepEqual(told, ["let go more"]);
  });

  test("that were let go by hand come back by a reload, and not by a look", async () => {
    await write("found.db");
    const entries = [watched()];
    await using fleet = await fleetOf(entries);
    await fleet.unregister("found");
    await fleet.look();
    assert.deepEqual(taken(), ["+found", "-found unregistered"]);

    const reloaded = await fleet.reload(parseConfig({ databases: entries }));

    assert.deepEqual(reloaded.registered, ["found"]);
    assert.deepEqual(taken(), ["+found"]);
  });

  test("that cannot be had are told of and tried again; one that somebody asks for is refused", async () => {
    refused.add("found").add("more");
    await write("found.db");
    await using fleet = await fleetOf([watched()]);
    await assert.rejects(fleet.register(at("more.db")), { code: "locked" });
    assert.deepEqual(told, ["locked found", "locked more", "over locked more"]);

    refused.clear();
    while (calls.length === 0) await sleep(5);

    assert.deepEqual(taken(), ["+found"]);
    await fleet.look();
    assert.equal(told.at(-1), "over locked found");
  });

  test("that cannot be let go are told of and tried again, and keep no other from coming", async () => {
    stuck.add("old");
    await using fleet = await fleetOf([at("old.db"), watched()]);

    const change = await fleet.reload(parseConfig({ databases: [at("new.db"), watched()] }));

    assert.deepEqual(taken(), ["+new"]);
    assert.deepEqual(
      change.failed.map(({ name }) => name),
      ["old"],
    );
    assert.deepEqual(change.unregistered, []);
    assert.deepEqual(told, ["disk-full old"]);
    stuck.clear();
    // What is let go by the second attempt is as much on purpose as by the first.
    while (calls.length < 2) await sleep(5);
    assert.deepEqual(taken(), ["-old", "said old unconfigured"]);
    await fleet.look();
    assert.ok(told.includes("over disk-full old"), told.join());
  });

  test("that are configured and cannot be had are asked for again by who registers them", async () => {
    refused.add("more");
    await using fleet = await fleetOf([watched()]);
    await fleet.reload(parseConfig({ databases: [at("more.db"), watched()] }));
    await assert.rejects(fleet.register(at("more.db")), { code: "locked" });
    refused.clear();

    const { isNew } = await fleet.register(at("more.db"));

    assert.deepEqual([isNew, taken()], [true, ["+more"]]);
    assert.deepEqual(
      fleet.members().map(({ name, origin }) => [name, origin]),
      [["more", "configured"]],
    );
  });

  test("come and go by a reload also where a file is left out already for its name", async () => {
    await mkdir(at("other"));
    await write("app.db");
    await write("other/app.db");
    const entries = [watched(), { dir: at("other") }];
    await using fleet = await fleetOf([at("old.db"), ...entries]);
    assert.deepEqual(told.splice(0), ["bad-config app"]);
    taken();

    const change = await fleet.reload(parseConfig({ databases: [at("new.db"), ...entries] }));

    assert.deepEqual([change.registered, change.unregistered], [["new"], ["old"]]);
    assert.deepEqual(told, ["let go old"]);
  });

  test("stay as they are where a reload would give two of them one name", async () => {
    await write("app.db");
    await using fleet = await fleetOf([watched()]);
    taken();
    const next = parseConfig({
      databases: [{ path: at("elsewhere/app.db") }, watched(), { path: at("b.db") }],
    });

    await assert.rejects(fleet.reload(next), { code: "bad-config", message: /app\.db was found/ });

    assert.deepEqual(taken(), []);
    assert.deepEqual(
      fleet.members().map(({ path }) => path),
      [at("app.db")],
    );
  });

  test("that are gone are let go by a reload, and a directory that is gone takes none with it", async () => {
    await write("app.db");
    const entries = [watched()];
    await using fleet = await fleetOf(entries);
    taken();
    await rm(at("app.db"));
    await fleet.look();
    assert.deepEqual(taken(), []);

    await rm(root, { recursive: true });
    await fleet.reload(parseConfig({ databases: entries }));
    assert.deepEqual(taken(), []);
    assert.deepEqual(told, ["not-found undefined"]);
    root = await mkdtemp(join(tmpdir(), "pageferry-fleet-"));
  });

  test("are told of as let go on purpose where a reload does so, and not where their files are gone", async () => {
    for (const name of ["app.db", "found.db", "gone.db", "other.bolt"]) await write(name);
    await using fleet = await fleetOf([{ path: at("app.db"), name: "named" }, watched()]);
    taken();
    await rm(at("gone.db"));

    const narrower = { ...watched(), pattern: "*.bolt" };
    await fleet.reload(parseConfig({ databases: [narrower] }));

    assert.deepEqual(taken(), ["+other", "-found unconfigured", "-gone", "-named unconfigured"]);
  });

  test("are taken up again from elsewhere without a farewell", async () => {
    await write("app.db");
    await using fleet = await fleetOf([at("app.db")]);

    await fleet.reload(parseConfig({ databases: [at("elsewhere/app.db")] }));

    assert.deepEqual(calls, ["-app", "+app"]);
  });

  test("whose host is away have their farewell said later, unless they are back by then", async () => {
    for (const name of ["a.db", "b.db"]) await write(name);
    await using fleet = await fleetOf([at("a.db"), at("b.db")]);
    deaf.add("a").add("b");
    const first = await fleet.unregister("a");
    const reloaded = await fleet.reload(parseConfig({ databases: [at("a.db")] }));
    assert.deepEqual([first.isTold, reloaded.untold], [false, ["b"]]);
    taken();

    deaf.clear();
    while (calls.length === 0) await sleep(5);
    await sleep(60);

    assert.deepEqual(taken(), ["said b unconfigured"]);
  });

  test("whose farewell a full disk keeps from being said have it said when there is room", async () => {
    for (const name of ["a.db", "b.db"]) await write(name);
    await using fleet = await fleetOf([at("a.db"), at("b.db")]);
    deaf.add("b");
    await fleet.unregister("b");
    stuck.add("b");
    taken();
    await sleep(60);
    assert.deepEqual(taken(), []);

    stuck.clear();
    deaf.clear();
    while (calls.length === 0) await sleep(5);

    assert.deepEqual(taken(), ["said b unregistered"]);
  });

  test("that it has not any more are spoken for by their name, where its shadow knows them", async () => {
    await using fleet = await fleetOf([]);

    const told = await fleet.unregister("past");

    assert.deepEqual(told, { name: "past", path: null, origin: null, isTold: true });
    assert.deepEqual(taken(), ["said past unregistered"]);
    await assert.rejects(fleet.unregister("../past"), { code: "not-found" });
  });

  test("are none after it has stopped", async () => {
    const fleet = await fleetOf([watched()]);
    await fleet.stop();

    await assert.rejects(fleet.register(at("app.db")), { code: "unavailable" });
    await write("late.db");
    await sleep(400);
    assert.deepEqual(taken(), []);
  });
});
