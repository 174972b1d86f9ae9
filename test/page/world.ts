// A host with made-up histories for the tests of the page: as many databases as are wanted, at any moment, and anything may be wrong with them.
import { type EnvelopeItem, parseDatabaseName, txId } from "@pageferry/format";
import { type LocalHost, type LocalHostConfig, localHost } from "@pageferry/functions/hosts/local";
import { epochMs, type History, historyOf } from "../../packages/functions/testing/history.ts";
import { type TemporaryDirectory, temporaryDirectory, until } from "../temporary.ts";

/** A host whose clock the test moves. */
export interface World extends AsyncDisposable {
  readonly host: LocalHost;
  readonly url: string;
  readonly directory: TemporaryDirectory;
  /** The clock of host and agents: transaction T of every history was committed at T seconds. */
  moveTo(seconds: number): void;
  /** Commits of `name`, one a second, as an agent sends them; the first send brings a snapshot of transaction 4. */
  commit(name: string, count?: number, on?: string): Promise<void>;
  /** Sends what is given as an agent would, `last` being the newest transaction that it knows. */
  send(name: string, history: History, items: readonly EnvelopeItem[], last: number): Promise<void>;
  /** Resolves when a replica has everything that was sent. */
  settled(name: string): Promise<void>;
}

/** Opens a host in this process. */
export async function openWorld(config: Partial<LocalHostConfig> = {}): Promise<World> {
  const directory = await temporaryDirectory();
  let nowMs = epochMs;
  const host = await localHost(
    { dataDir: directory.file("data"), listen: { host: "127.0.0.1", port: 0 }, ...config },
    { now: () => nowMs, settleMs: 50 },
  );
  const newest = new Map<string, number>();
  const send: World["send"] = async (name, history, items, last) => {
    const database = parseDatabaseName(name);
    const told = { newestTxId: txId(last), newestStampMs: epochMs + last * 1000 };
    await host.queue.send(history.envelope(items, { database, sentAtMs: nowMs, ...told }));
  };
  return {
    ...{ host, directory, url: host.url ?? "", send },
    moveTo(seconds) {
      nowMs = epochMs + seconds * 1000;
    },
    async commit(name, count = 1, on = "vm") {
      const history = historyOf(Buffer.from(name).toString("hex").slice(-12), name, { host: on });
      const before = newest.get(name);
      const first = before ?? 4;
      const segments = Array.from({ length: count }, (_, at) => history.segment(first + at, first + at + 1));
      newest.set(name, first + count);
      const items = before === undefined ? [history.snapshot(4), ...segments] : segments;
      await send(name, history, items, first + count);
    },
    async settled(name) {
      await until(`${name} is stored`, async () => {
        const { replicas, txid } = await host.status(name);
        return replicas.some((replica) => replica.txid === txid && replica.lagMs === 0);
      });
    },
    async [Symbol.asyncDispose]() {
      await host.close({ deadlineMs: 0 });
      await directory[Symbol.asyncDispose]();
    },
  };
}

const daySeconds = 86_400;

/**
 * A database with a past: snapshots of six days, points every five minutes, a stretch that is missing, and then every commit; its file was
 * replaced once, a point is pinned. Moves the clock to its end.
 */
export async function sendLongHistory(world: World, name: string): Promise<void> {
  const first = historyOf("a1", name);
  const last = 6 * daySeconds;
  world.moveTo(last);
  const snapshots = [1, 2, 3, 4, 5, 6].map((day) => first.snapshot(day * daySeconds - 600));
  const from = 5 * daySeconds - 600;
  const coarse = Array.from({ length: 280 }, (_, at) =>
    first.segment(from + at * 300, from + (at + 1) * 300),
  );
  const end = last - 600;
  const fine = Array.from({ length: 300 }, (_, at) => first.segment(end + at, end + at + 1));
  // Two of the coarse ranges are lost: what follows cannot be reached until the next snapshot.
  await world.send(name, first, [...snapshots, ...coarse.toSpliced(100, 2), ...fine], end + 300);
  const parent = { generation: first.generation, txId: txId(end + 300) };
  const second = historyOf("b2", name, { parent, epoch: 2, reason: "replaced" });
  const bridge = second.segment(end + 300, end + 301);
  const rest = Array.from({ length: 290 }, (_, at) => second.segment(end + 301 + at, end + 302 + at));
  await world.send(name, second, [bridge, ...rest], end + 591);
  await world.settled(name);
}
