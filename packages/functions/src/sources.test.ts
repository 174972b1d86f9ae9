import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { decodeEnvelope, type Envelope, parseDatabaseName } from "@pageferry/format";
import { epochMs, historyOf, id } from "../testing/history.ts";
import { createAlarms } from "./alarms.ts";
import { createSources, mergeSources, type SourcesOptions } from "./sources.ts";

const app = parseDatabaseName("app");
const history = historyOf("a1");
const later = historyOf("b2", "", { epoch: 2, host: "elsewhere" });

function open(notes = new Map<string, string>(), onParting?: SourcesOptions["onParting"]) {
  const clock = { now: epochMs };
  const alarms = createAlarms({ now: () => clock.now });
  const store = {
    setNote: (name: string, value: string) => void notes.set(name, value),
    notes: (prefix: string) => new Map([...notes].filter(([name]) => name.startsWith(prefix))),
  };
  return {
    clock,
    alarms,
    notes,
    sources: createSources({ now: () => clock.now, alarms, notes: store, ...(onParting && { onParting }) }),
  };
}

const heartbeat = (newest: number | null, from = history, items: Envelope["items"] = []): Envelope =>
  decodeEnvelope(
    from.envelope(items, {
      newestTxId: newest === null ? null : id(newest),
      newestStampMs: newest === null ? null : epochMs + newest * 1000,
    }),
  );

suite("what an agent told", () => {
  test("is kept of its last generations, however many are told of", () => {
    const { sources } = open();
    const told = Array.from({ length: 200 }, (_, at) => historyOf(`c${at + 100}`, "", { epoch: at + 1 }));

    for (const one of told) sources.heard(heartbeat(1, one), epochMs);

    const kept = [...(sources.get(app)?.generations.keys() ?? [])];
    assert.deepEqual(
      kept,
      told.slice(-64).map(({ generation }) => generation),
    );
  });
});

suite("the lag of a replica", () => {
  test("is unknown until something was heard, and nothing when all is there, also while idle", () => {
    const { sources, clock } = open();
    assert.equal(sources.lagMs(app, id(5)), null);

    sources.heard(heartbeat(5), epochMs);
    clock.now += 3_600_000;

    assert.equal(sources.lagMs(app, id(5)), 0);
  });

  test("is the age of the oldest commit it lacks, not of the newest", () => {
    const { sources, clock } = open();
    for (const newest of [5, 7, 9]) sources.heard(heartbeat(newest), epochMs);

    clock.now = epochMs + 60_000;

    assert.equal(sources.lagMs(app, id(9)), 0);
    assert.equal(sources.lagMs(app, id(7)), 60_000 - 9000);
    assert.equal(sources.lagMs(app, id(5)), 60_000 - 7000);
    assert.equal(sources.lagMs(app, null), 60_000 - 5000);
  });

  test("is told by the newest that was seen, also where envelopes overtake one another", () => {
    const { sources, clock } = open();
    for (const newest of [5, 9, 7]) sources.heard(heartbeat(newest), epochMs);
    clock.now = epochMs + 60_000;

    assert.equal(sources.get(app)?.newestTxId, 9n);
    assert.equal(sources.lagMs(app, id(5)), 60_000 - 9000);
  });

  test("goes on rightly when a restored database begins below", () => {
    const { sources, clock } = open();
    sources.heard(heartbeat(50), epochMs);
    sources.heard(heartbeat(8, later), epochMs);
    clock.now = epochMs + 20_000;

    assert.equal(sources.lagMs(app, id(8)), 0);
    assert.equal(sources.lagMs(app, id(7)), 12_000);
  });

  test("keeps little of a long time without a replica", () => {
    const { sources, clock } = open();
    for (let newest = 1; newest < 5000; newest++) sources.heard(heartbeat(newest), epochMs);
    clock.now = epochMs + 10_000_000;

    assert.ok(Math.abs((sources.lagMs(app, null) ?? 0) - 9_999_000) < 10_000);
    assert.ok(Math.abs((sources.lagMs(app, id(4900)) ?? 0) - (10_000_000 - 4_901_000)) < 20_000);
  });
});

suite("what agents told", () => {
  test("is known again after a restart", () => {
    const { sources, notes } = open();
    sources.heard(heartbeat(9, history, [history.segment(4, 7), history.segment(7, 8)]), epochMs + 5);
    sources.save();

    const source = open(notes).sources.get(app);

    assert.deepEqual(source, sources.get(app));
    assert.equal(source?.generations.get(history.generation)?.acceptedTxId, 8n);
    assert.equal(source?.newestTxId, 9n);
  });

  test("is taken from others, and merged where two heard of one database", () => {
    const notes = new Map<string, string>();
    const mine = open(notes).sources;
    const theirs = open(notes).sources;
    theirs.heard(heartbeat(5, later, [later.segment(4, 5)]), epochMs + 1);
    theirs.save();
    const noted = notes.get("source/app") ?? "";
    mine.heard(heartbeat(9, history, [history.segment(4, 7)]), epochMs + 2);
    mine.reload();
    assert.equal(mine.get(app)?.newestTxId, 9n, "what was heard here stays until it is saved");
    mine.save();
    notes.set("source/app", mergeSources(noted, notes.get("source/app") ?? ""));

    theirs.reload();

    const source = theirs.get(app);
    assert.deepEqual([source?.newestTxId, source?.generation], [9n, history.generation]);
    assert.equal(source?.generations.get(history.generation)?.acceptedTxId, 7n);
    assert.equal(source?.generations.get(later.generation)?.acceptedTxId, 5n);
  });

  test("tells after a restart how old what is missing is", () => {
    const { sources, notes } = open();
    for (let newest = 1; newest <= 100; newest++) sources.heard(heartbeat(newest), epochMs);
    sources.save();

    const next = open(notes);
    next.clock.now = epochMs + 200_000;

    const lagMs = next.sources.lagMs(app, id(50)) ?? 0;
    assert.ok(Math.abs(lagMs - (200_000 - 51_000)) <= 4000, String(lagMs));
  });

  test("last, that it is no longer backed up, is noted at once, and holds until they tell of it again", () => {
    const told: string[] = [];
    const { sources, notes } = open(new Map(), (database, { reason }) => told.push(`${database} ${reason}`));
    sources.heard(heartbeat(9), epochMs);
    sources.heard({ ...heartbeat(9), farewell: "unregistered" }, epochMs + 1000);

    const restarted = open(notes).sources;
    const parting = restarted.get(app)?.parting;
    restarted.heard({ ...heartbeat(9), sentAtMs: (parting?.sentAtMs ?? 0) + 1 }, epochMs + 2000);

    assert.deepEqual(told, ["app unregistered"]);
    assert.deepEqual(parting && { ...parting, sentAtMs: 0 }, {
      ...{ reason: "unregistered", host: history.begin.host, atMs: epochMs + 1000, sentAtMs: 0 },
    });
    assert.equal(restarted.get(app)?.parting, null);
  });

  test("last is known where another process heard of the database before, and not where it heard of it since", () => {
    const notes = new Map<string, string>();
    const [theirs, ours] = [open(notes).sources, open(notes).sources];
    const merged = () => {
      const noted = notes.get("source/app") ?? "";
      ours.save();
      notes.set("source/app", mergeSources(noted, notes.get("source/app") ?? ""));
      return open(notes).sources.get(app)?.parting?.reason;
    };
    theirs.heard({ ...heartbeat(9), farewell: "unregistered" }, epochMs + 1000);
    ours.heard(heartbeat(8), epochMs + 500);
    assert.equal(merged(), "unregistered");

    ours.heard(heartbeat(9), epochMs + 3000);

    assert.equal(merged(), undefined);
  });

  test("is not lost with a note that cannot be read", () => {
    const { sources } = open(new Map([["source/app", "{"]]));

    sources.heard(heartbeat(9), epochMs);

    assert.equal(sources.get(app)?.newestTxId, 9n);
  });

  test("by two agents in turns raises an alarm, but a new generation, and leftovers of the old one, do not", () => {
    const { sources, alarms } = open();
    const tell = (...from: (typeof history)[]) => {
      for (const one of from) sources.heard(heartbeat(9, one), epochMs);
    };

    tell(history, history, later, history, later, later, later);
    assert.deepEqual(alarms.list(), []);
    tell(history, later, history);

    assert.deepEqual(
      alarms.list().map(({ code, database }) => [code, database]),
      [["fork", "app"]],
    );
  });
});
