import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PageferryError, txId } from "@pageferry/format";
import type { KnownState } from "./decide-generation.ts";
import {
  type RecordedHistory,
  recordedHistory,
  simulateFile,
  tableOf,
  withOtherData,
  withoutFreelists,
} from "./simulated-file.ts";
import {
  identity,
  type SimulatedOptions,
  type SimulatedTailer,
  seeded,
  simulateTailer,
} from "./simulated-tailer.ts";
import type { TailerOptions } from "./tailer-state.ts";

const history = await recordedHistory("replica", "0862e0be1cb6d5ca");
const other = withoutFreelists(history, () => false);

/** A file of the history at a state, whose writer waits to be told. */
function fileAt(of: RecordedHistory, id: number) {
  const file = simulateFile(of, { random: seeded(3), pace: () => 0 });
  file.commitTo(id);
  return file;
}

/** A tailer that has captured the history up to a state. */
function following(id: number, options: SimulatedOptions = {}): SimulatedTailer {
  const simulated = simulateTailer(history, options);
  simulated.world.file = fileAt(history, id);
  simulated.drain();
  simulated.events.length = 0;
  return simulated;
}

function knownAt(id: number, changes: Partial<KnownState> = {}): NonNullable<TailerOptions["known"]> {
  const stateHash = history.states.get(id)?.stateHash ?? 0n;
  return { txId: txId(id), stateHash, identity, table: tableOf(history, id), ...changes };
}

/** A tailer that was started again: it knows a state, and the file is at another. */
function restarted(
  known: TailerOptions["known"],
  of: RecordedHistory,
  id: number,
  options: SimulatedOptions = {},
) {
  const simulated = simulateTailer(history, { ...options, known });
  simulated.world.file = fileAt(of, id);
  if (known !== null) simulated.consumer.adopt(of, undefined);
  return simulated;
}

function told(simulated: SimulatedTailer): string[] {
  return simulated.events
    .filter(({ type }) => type !== "seen")
    .map((event) => {
      if (event.type === "begin")
        return `begin ${event.reason} by ${event.via} from ${event.parent?.txId ?? "nothing"}`;
      if (event.type === "delta") return `delta ${event.parentTxId} to ${event.txId}`;
      if (event.type === "base") return `base ${event.txId}`;
      if (event.type === "alarm" || event.type === "cleared") return `${event.type} ${event.code}`;
      return event.type;
    });
}

suite("a restart", () => {
  test("goes on with one delta from the state that is known", () => {
    const simulated = restarted(knownAt(50), history, 90);
    simulated.consumer.adopt(history, 50);

    simulated.drain();

    assert.deepEqual(told(simulated), ["begin continue by continue from 50", "delta 50 to 90"]);
  });

  test("says nothing but that it goes on where nothing happened", () => {
    const simulated = restarted(knownAt(90), history, 90);
    simulated.consumer.adopt(history, 90);

    simulated.drain();

    assert.deepEqual(told(simulated), ["begin continue by continue from 90"]);
  });

  test("goes on with a base where there is no page table", () => {
    const simulated = restarted({ ...knownAt(50), table: null }, history, 90);

    simulated.drain();

    assert.deepEqual(told(simulated), ["begin continue by continue from 50", "base 90"]);
  });

  test("bridges to a new generation after a reboot", () => {
    const simulated = restarted(knownAt(50, { identity: { ...identity, bootId: "before" } }), history, 90);
    simulated.consumer.adopt(history, 50);

    simulated.drain();

    assert.deepEqual(told(simulated), ["begin unprovable by bridge from 50", "delta 50 to 90"]);
  });

  test("sees through the same txid and the same metas over other data, and begins with a snapshot", () => {
    const lie = withOtherData(history, 60);
    assert.notEqual(lie.states.get(60)?.stateHash, history.states.get(60)?.stateHash);
    assert.deepEqual(lie.states.get(60)?.meta, history.states.get(60)?.meta);
    const simulated = restarted(knownAt(60), lie, 60);

    simulated.drain();

    assert.deepEqual(told(simulated), ["begin unprovable by snapshot from 60", "base 60"]);
  });

  test("begins with a snapshot where the file went back", () => {
    const simulated = restarted(knownAt(90), history, 50);

    simulated.drain();

    assert.deepEqual(told(simulated), ["begin replaced by snapshot from 90", "base 50"]);
  });

  test("begins a new generation when it is told to, and only once", () => {
    const simulated = restarted(knownAt(50), history, 90, { forced: "restored" });
    simulated.consumer.adopt(history, 50);

    simulated.drain();
    simulated.world.file.commitTo(95);
    simulated.drain();

    assert.deepEqual(told(simulated), [
      "begin restored by bridge from 50",
      "delta 50 to 90",
      "delta 90 to 95",
    ]);
  });
});

suite("a file that was restored", () => {
  /** Started over a file at a state, told that it was restored to 50. */
  function restored(of: RecordedHistory, id: number, changes: { readonly table?: null } = {}) {
    const known = { ...knownAt(50), ...changes };
    const simulated = restarted(known, of, id, { forced: "restored", isKnownRestored: true });
    if (of === history && (id === 50 || changes.table !== null)) simulated.consumer.adopt(history, 50);
    return simulated;
  }

  test("begins by a bridge where it is what it was restored to, and is not read a second time", () => {
    for (const changes of [{}, { table: null }]) {
      const simulated = restored(history, 50, changes);
      simulated.drain();
      assert.deepEqual(told(simulated), ["begin restored by bridge from 50"]);

      simulated.world.file.commitTo(51);
      simulated.drain();
      simulated.world.file.commitTo(90);
      simulated.drain();

      assert.deepEqual(told(simulated).slice(1), ["delta 50 to 51", "delta 51 to 90"]);
      assert.equal(simulated.tailer.figures.bases, 0);
      simulated.tailer.isBaseWanted = true;
      simulated.until(() => simulated.tailer.figures.bases === 1);
      assert.equal(told(simulated).at(-1), "base 90");
    }
  });

  test("begins by a bridge where somebody wrote it before it was looked at: its table tells what is new", () => {
    const simulated = restored(history, 53);
    simulated.drain();
    assert.deepEqual(told(simulated), ["begin restored by bridge from 50", "delta 50 to 53"]);
  });

  test("begins with a snapshot where there is no table to tell", () => {
    const simulated = restored(history, 53, { table: null });
    simulated.drain();
    assert.deepEqual(told(simulated), ["begin restored by snapshot from 50", "base 53"]);
  });

  test("begins with a snapshot where the same transaction is another state, or an earlier one is there", () => {
    const lie = withOtherData(history, 50);
    const [other, earlier] = [restored(lie, 50), restored(history, 49)];
    for (const simulated of [other, earlier]) simulated.drain();
    assert.deepEqual(told(other), ["begin restored by snapshot from 50", "base 50"]);
    assert.deepEqual(told(earlier), ["begin restored by snapshot from 50", "base 49"]);
  });
});

suite("a break", () => {
  test("becomes one delta, whatever came between", () => {
    const simulated = following(50);

    simulated.world.file.commitTo(53);
    simulated.drain();

    assert.deepEqual(told(simulated), ["delta 50 to 53"]);
    assert.equal(simulated.tailer.figures.breaks, 1);
  });

  test("does not start a base again", () => {
    const simulated = following(50, { maxReadRate: 1e6 });
    simulated.tailer.isBaseWanted = true;
    simulated.until(() => (simulated.tailer.image?.copied.count() ?? 0) > 10);
    const { image } = simulated.tailer;

    simulated.world.file.commitTo(53);
    simulated.until(() => simulated.consumer.txId() === 53);

    assert.equal(simulated.tailer.image, image);
    simulated.until(() => simulated.consumer.counts.bases === 2);
  });

  test("of which too much is to be told becomes a base, and deltas go on above it", () => {
    const simulated = following(50);
    const { tailer, world } = simulated;

    world.file.commitTo(51);
    if (tailer.walk !== undefined) tailer.walk.isOverCollected = true;
    simulated.drain();
    world.file.commitTo(52);
    simulated.drain();

    assert.deepEqual(told(simulated), ["base 51", "delta 51 to 52"]);
  });
});

suite("a file that is replaced in place", () => {
  test("by an older state is believed when it stays, and begins with a snapshot", () => {
    const simulated = following(90);

    simulated.world.file.image.set(fileAt(history, 50).image);
    simulated.drain();

    assert.deepEqual(told(simulated), ["begin replaced by snapshot from 90", "base 50"]);
  });

  test("is not believed where an older meta shows for a moment", () => {
    const simulated = following(90);
    const { session } = simulated.tailer;
    assert.ok(session);
    const { read } = session.metas;
    const old = fileAt(history, 89);
    let lies = 2;
    const older = read();
    assert.ok(older);
    const raw = old.image.slice(history.pageSize, history.pageSize + 80);
    Object.assign(session.metas, {
      read: () => (lies-- > 0 ? { ...older, raw, meta: { ...older.meta, txId: txId(89) } } : read()),
    });

    simulated.world.file.commitTo(91);
    simulated.drain();

    assert.deepEqual(told(simulated), ["delta 90 to 91"]);
  });

  test("by another history at the next txid is no successor: a new generation, by a bridge", () => {
    const simulated = following(90);
    simulated.consumer.adopt(other);

    simulated.world.file.image.set(fileAt(other, 91).image);
    simulated.drain();

    assert.deepEqual(told(simulated), ["begin replaced by bridge from 90", "delta 90 to 91"]);
  });

  test("by the very same is nothing", () => {
    const simulated = following(90);

    simulated.world.file.truncate(0);
    simulated.until(() => simulated.tailer.session === undefined);
    simulated.world.file = fileAt(history, 90);
    simulated.drain();

    assert.deepEqual(told(simulated), []);
  });

  test("is drained and followed where another file was renamed over the path", () => {
    const simulated = following(90);
    const { world } = simulated;
    world.file.commitTo(91);
    world.pathState = "replaced";
    world.hasWriter = false;

    simulated.until(() => simulated.tailer.session === undefined);
    world.file = fileAt(history, 120);
    world.pathState = "same";
    world.hasWriter = true;
    world.identity = { ...identity, inode: "9" };
    simulated.drain();

    assert.deepEqual(told(simulated), [
      "delta 90 to 91",
      "begin replaced by bridge from 91",
      "delta 91 to 120",
    ]);
  });

  test("is an alarm, and followed on, while the application still writes the old file", () => {
    const simulated = following(90);
    simulated.world.pathState = "replaced";

    simulated.until(() => simulated.consumer.counts.alarms.length > 0);
    simulated.world.file.commitTo(91);
    simulated.drain();

    assert.deepEqual(told(simulated), ["alarm source-unlinked", "delta 90 to 91"]);
  });

  test("is an alarm also where it happened before we came", () => {
    const simulated = following(90);
    simulated.world.hasWriter = false;
    simulated.world.isWrittenElsewhere = true;

    simulated.until(() => simulated.consumer.counts.alarms.length > 0);
    simulated.world.isWrittenElsewhere = false;
    simulated.until(() => simulated.events.at(-1)?.type === "cleared");

    assert.deepEqual(told(simulated), ["alarm source-unlinked", "cleared source-unlinked"]);
  });
});

suite("a file that is not there, or not yet what it should be", () => {
  test("gets some seconds to appear, then is an alarm, and is captured when it is there", () => {
    const simulated = simulateTailer(history);
    simulated.world.openError = new PageferryError("not-found", "simulated: there is no such file");

    simulated.until(() => simulated.world.clockMs > 2500);
    assert.deepEqual(told(simulated), []);
    simulated.until(() => simulated.world.clockMs > 4000);
    simulated.world.openError = undefined;
    simulated.drain();

    assert.deepEqual(told(simulated).slice(0, 2), ["alarm not-found", "cleared not-found"]);
    assert.equal(told(simulated).at(-1), "base 2");
  });

  test("is an alarm at once where it may not be read", () => {
    const simulated = simulateTailer(history);
    simulated.world.openError = new PageferryError("unreadable", "simulated: cannot be opened (EACCES)");

    simulated.step();

    assert.deepEqual(told(simulated), ["alarm unreadable"]);
  });

  test("is no alarm while its first bytes are being written", () => {
    const simulated = simulateTailer(history);
    const { file } = simulated.world;
    const size = file.stats().size;

    for (const length of [0, 3, 80, 4096, 4100]) {
      file.truncate(length);
      if (length < 80) file.image.fill(0, 0, 80);
      else file.image.set(history.start.subarray(0, 80));
      simulated.step();
    }
    file.truncate(size);
    simulated.drain();

    assert.deepEqual(told(simulated), ["begin first by snapshot from nothing", "base 2"]);
  });

  test("is an alarm where it stays empty, or is no bolt file", () => {
    for (const spoil of ["empty", "text"]) {
      const simulated = simulateTailer(history);
      const { file } = simulated.world;
      if (spoil === "empty") file.truncate(0);
      else file.image.fill(97);

      simulated.until(() => simulated.consumer.counts.alarms.length > 0);

      assert.deepEqual(told(simulated), ["alarm not-bolt"]);
    }
  });

  test("is an alarm when it is gone, and is followed when it is back", () => {
    const simulated = following(90);
    simulated.world.pathState = "missing";
    simulated.world.hasWriter = false;

    simulated.until(() => simulated.consumer.counts.alarms.length > 0);
    simulated.world.pathState = "same";
    simulated.world.hasWriter = true;
    simulated.until(() => simulated.events.at(-1)?.type === "cleared");

    assert.deepEqual(told(simulated), ["alarm not-found", "cleared not-found"]);
  });

  test("is an alarm while a page of it is damaged, and goes on when it is not any more", () => {
    const simulated = following(90);
    const { file } = simulated.world;
    file.commitTo(91);
    const { root } = history.states.get(91)?.meta ?? assert.fail();
    const page = file.image.slice(root * 4096, root * 4096 + 16);

    file.image.fill(255, root * 4096, root * 4096 + 16);
    simulated.until(() => simulated.consumer.counts.alarms.length > 0);
    file.image.set(page, root * 4096);
    simulated.drain();

    assert.deepEqual(told(simulated), ["alarm corrupt", "delta 90 to 91", "cleared corrupt"]);
  });
});

suite("a base", () => {
  test("waits for room on the scratch disk, says so, and is there when there is room", () => {
    const simulated = simulateTailer(history);
    simulated.world.imageError = Object.assign(new Error("no space"), { code: "ENOSPC" });

    simulated.until(() => simulated.world.clockMs > 12_000);
    simulated.world.imageError = undefined;
    simulated.drain();

    assert.deepEqual(told(simulated), [
      "alarm disk-full",
      "begin first by snapshot from nothing",
      "cleared disk-full",
      "base 2",
    ]);
  });

  test("waits for its place among the images of others, without an alarm, and is then of what is committed by then", () => {
    const simulated = simulateTailer(history);
    simulated.world.hasImageRoom = false;

    simulated.until(() => simulated.world.clockMs > 5000);
    simulated.world.file.commitTo(9);
    simulated.until(() => simulated.world.clockMs > 10_000);
    const before = told(simulated);
    simulated.world.hasImageRoom = true;
    simulated.drain();

    assert.deepEqual(before, ["begin first by snapshot from nothing"]);
    assert.deepEqual(told(simulated), [...before, "base 9"]);
  });

  test("of a file that nobody holds locked is checked in full", () => {
    const simulated = simulateTailer(history);
    simulated.world.hasWriter = false;

    simulated.drain();

    assert.equal(simulated.world.checks.length, 1);
    assert.equal(told(simulated).at(-1), "base 2");
  });

  test("that does not hold is told to nobody", () => {
    const simulated = simulateTailer(history, { checkImage: () => "page 7: referred to twice" });
    simulated.world.hasWriter = false;

    simulated.until(() => simulated.world.clockMs > 5000);

    assert.deepEqual(told(simulated), ["begin first by snapshot from nothing", "alarm corrupt"]);
  });

  test("of a file that nobody holds locked waits until nothing writes over it", () => {
    const simulated = simulateTailer(history);
    const { world } = simulated;
    world.hasWriter = false;
    const { size } = world.file.stats();

    for (let steps = 0; steps < 500; steps += 1) {
      world.file.truncate(size);
      simulated.step();
    }
    assert.deepEqual(told(simulated), []);
    simulated.drain();

    assert.equal(told(simulated).at(-1), "base 2");
  });

  test("of a file that nobody holds locked waits until it is as long as its high-water mark", () => {
    const simulated = simulateTailer(history);
    const { world } = simulated;
    world.hasWriter = false;
    world.file = fileAt(history, 40);
    const { size } = world.file.stats();
    const live = [...(history.states.get(40)?.digests.keys() ?? [])];
    const end = (Math.max(...live) + 1) * history.pageSize;
    assert.ok(end < size, "the last page is free");

    world.file.truncate(end);
    simulated.until(() => world.clockMs > 2000);
    assert.deepEqual(told(simulated), []);
    world.file.truncate(size);
    simulated.drain();

    assert.equal(told(simulated).at(-1), "base 40");
  });

  test("is refused where a live page is not what was captured, though no commit came", () => {
    const simulated = following(90);
    const live = [...(history.states.get(90)?.digests.keys() ?? [])];
    const page = (live.at(-1) as number) * history.pageSize + 4000;
    simulated.world.file.image[page] = (simulated.world.file.image[page] as number) ^ 1;

    simulated.tailer.isBaseWanted = true;
    assert.throws(() => simulated.until(() => simulated.events.some(({ type }) => type === "base")));

    assert.deepEqual(told(simulated).slice(0, 1), ["begin replaced by snapshot from 90"]);
  });
});

suite("a file that is too busy", () => {
  const busy = { mean: 4, seed: 5, baseDeadlineMs: 1 };

  test("is an alarm after the deadline, and is tried on", () => {
    const simulated = simulateTailer(other, busy);

    simulated.until(() => simulated.consumer.counts.alarms.length > 0);
    simulated.drain();

    assert.equal(simulated.consumer.counts.alarms[0], "source-too-busy");
    assert.equal(simulated.consumer.counts.bases, 1);
  });

  test("is scanned as a clone where the file system makes them", () => {
    let clones = 0;
    const simulated: SimulatedTailer = simulateTailer(other, {
      ...busy,
      cloneFile() {
        clones += 1;
        const copy = simulated.world.file.image.slice();
        const image = simulated.consumer.createImage();
        image.bytes = copy;
        const readAt = (position: number, into: Uint8Array): number => {
          into.set(copy.subarray(position, position + into.length));
          return Math.max(0, Math.min(into.length, copy.length - position));
        };
        return {
          file: { identity, openPath: "", readAt, stats: simulated.world.file.stats, close() {} },
          image,
        };
      },
    });

    simulated.drain();

    assert.ok(clones > 0);
    assert.equal(simulated.consumer.counts.bases, 1);
    assert.deepEqual(simulated.consumer.counts.alarms, []);
  });
});

suite("stamps", () => {
  test("never fall, also when the clock does", () => {
    const simulated = following(50);

    simulated.world.file.commitTo(51);
    simulated.drain();
    simulated.world.wallMs -= 500_000;
    simulated.world.file.commitTo(52);
    simulated.drain();

    const stamps = simulated.events.flatMap((event) => (event.type === "delta" ? [event.stampMs] : []));
    assert.equal(stamps.length, 2);
    assert.equal(stamps[1], stamps[0]);
  });

  test("are told with the newest txid a few times a second at most", () => {
    const simulated = following(50);

    for (let id = 51; id <= 80; id += 1) {
      simulated.world.file.commitTo(id);
      simulated.drain();
    }
    simulated.until(() => simulated.events.some((event) => event.type === "seen" && event.txId === 80n));

    const seen = simulated.events.filter(({ type }) => type === "seen");
    assert.ok(seen.length >= 1 && seen.length < 10, `${seen.length}`);
  });
});
