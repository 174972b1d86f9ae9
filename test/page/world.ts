// A host with made-up histories for the tests of the page: as many databases as are wanted, at any moment, and anything may be wrong with them.
import { parseDatabaseName, txId } from "@pageferry/format";
import { type LocalHost, type LocalHostConfig, localHost } from "@pageferry/functions/hosts/local";
import { epochMs, historyOf } from "../../packages/functions/testing/history.ts";
import { type TemporaryDirectory, temporaryDirectory, until } from "../temporary.ts";

/** A host whose clock the test moves. */
export interface World extends AsyncDisposable {
  readonly host: LocalHost;
  readonly url: string;
  readonly directory: TemporaryDirectory;
  /** The clock of host and agents: ms after the first history's beginning. */
  moveTo(ms: number): void;
  /** A commit a second from `from` on, as an agent would send them; the first send brings a snapshot. */
  commit(name: string, count?: number, host?: string): Promise<void>;
  /** Resolves when every replica that can be reached has everything. */
  settled(name: string): Promise<void>;
}

/** Opens a host in this process; `now` begins where the histories do. */
export async function openWorld(config: Partial<LocalHostConfig> = {}): Promise<World> {
  const directory = await temporaryDirectory();
  let nowMs = epochMs;
  const host = await localHost(
    { dataDir: directory.file("data"), listen: { host: "127.0.0.1", port: 0 }, ...config },
    { now: () => nowMs, settleMs: 50 },
  );
  const newest = new Map<string, number>();
  return {
    ...{ host, directory, url: host.url ?? "" },
    moveTo(ms) {
      nowMs = epochMs + ms;
    },
    async commit(name, count = 1, on = "vm") {
      const history = historyOf(Buffer.from(name).toString("hex").slice(0, 16), name, { host: on });
      const before = newest.get(name) ?? 0;
      const first = before === 0 ? 4 : before;
      const items = before === 0 ? [history.snapshot(4)] : [];
      for (let id = first; id < first + count; id += 1) items.push(history.segment(id, id + 1));
      const last = first + count;
      newest.set(name, last);
      const more = { sentAtMs: nowMs, newestTxId: txId(last), newestStampMs: epochMs + last * 1000 };
      await host.queue.send(history.envelope(items, { database: parseDatabaseName(name), ...more }));
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
