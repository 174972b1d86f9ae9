// A thread that does nothing but keep links: it looks at the metas of busy files, proves each commit's freelist or changed path,
// and writes it down. The capturing thread may then be late by many commits (it hashes, it is preempted, it collects garbage) and still knows
// what may have been overwritten meanwhile. docs/capture.md#links.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import {
  createMetaReader,
  equalBytes,
  isSameMeta,
  type MetaReader,
  type MetaView,
  type ReadAt,
} from "./bolt-io.ts";
import { proveFreelist } from "./freelist-proof.ts";
import { appendLink, isWanted, type LinkMemory } from "./link-log.ts";
import { createPathProver, type PathProver } from "./path-proof.ts";

/** What is told to the thread. It must be woken after it. */
export type KeeperOrder =
  | {
      readonly kind: "watch";
      readonly id: number;
      /** Names the very file, whatever its path names now. */
      readonly openPath: string;
      readonly device: string;
      readonly inode: string;
      readonly pageSize: number;
      readonly memory: LinkMemory;
    }
  | { readonly kind: "forget"; readonly id: number };

interface Watched {
  readonly fd: number;
  readonly readAt: ReadAt;
  readonly metas: MetaReader;
  readonly memory: LinkMemory;
  /** Made when the first path is read: it takes some megabytes. */
  paths: PathProver | undefined;
  last: MetaView | undefined;
  changedAtMs: number;
  intervalMs: number;
}

/** Naps between two looks: a sixth of the time between commits, within what a sleep can be and what a first commit may wait. */
const napMsMin = 0.03;
const napMsMax = 0.5;
const sleepMs = 1000;

const port = parentPort;
if (port === null) throw new TypeError("this module runs in a worker thread");
const wake = workerData as Int32Array<SharedArrayBuffer>;
const watched = new Map<number, Watched>();

function obey(order: KeeperOrder): void {
  const before = watched.get(order.id);
  if (before !== undefined) closeSync(before.fd);
  watched.delete(order.id);
  if (order.kind === "forget") return;
  const fd = openVery(order);
  if (fd === undefined) return;
  const readAt: ReadAt = (position, into) => readSync(fd, into, 0, into.length, position);
  watched.set(order.id, {
    fd,
    readAt,
    metas: createMetaReader(readAt, order.pageSize),
    memory: order.memory,
    paths: undefined,
    last: undefined,
    changedAtMs: performance.now(),
    intervalMs: 1,
  });
}

/** Opens the file; undefined where it is not the one that was meant, or is gone. */
function openVery(order: Extract<KeeperOrder, { kind: "watch" }>): number | undefined {
  try {
    const fd = openSync(order.openPath, "r");
    const { dev, ino } = fstatSync(fd, { bigint: true });
    if (dev.toString() === order.device && ino.toString() === order.inode) return fd;
    closeSync(fd);
  } catch {
    // The capturing thread has closed it.
  }
  return undefined;
}

/** Looks once. What does not follow the last commit begins a new chain: the reader sees that it does not fit. */
function look(file: Watched): void {
  const view = file.metas.read();
  if (view === undefined || (file.last !== undefined && isSameMeta(view, file.last))) return;
  const { last } = file;
  const nowMs = performance.now();
  file.intervalMs = Math.min(1000, file.intervalMs * 0.8 + (nowMs - file.changedAtMs) * 0.2);
  file.changedAtMs = nowMs;
  file.last = view;
  const isNext =
    last !== undefined && equalBytes(view.otherRaw, last.raw) && view.meta.txId === last.meta.txId + 1n;
  if (!isNext) return;
  const runs = view.meta.freelist === null ? proverOf(file).prove(view, last) : proveFreelist(file, view);
  // Without it there is a gap for the reader; what follows is kept all the same.
  if (runs !== undefined) appendLink(file.memory, { view, runs });
}

function proverOf(file: Watched): PathProver {
  file.paths ??= createPathProver(file, file.last?.meta.pageSize as number);
  return file.paths;
}

function keep(from: MessagePort): never {
  for (;;) {
    const seen = Atomics.load(wake, 0);
    for (let got = receiveMessageOnPort(from); got !== undefined; got = receiveMessageOnPort(from))
      obey(got.message);
    Atomics.wait(wake, 0, seen, lookAtAll());
  }
}

/** Looks at every file whose links are wanted; answers how long to sleep. */
function lookAtAll(): number {
  let napMs = sleepMs;
  for (const file of watched.values()) {
    if (!isWanted(file.memory)) {
      file.last = undefined;
      continue;
    }
    try {
      look(file);
    } catch {
      // The capturing thread finds out by itself what is wrong with the file.
      file.last = undefined;
    }
    napMs = Math.min(napMs, napMsMax, Math.max(napMsMin, file.intervalMs / 6));
  }
  return napMs;
}

// Not while this module is being evaluated: a thread that is ended then takes the process with it (V8, awaiting modules).
setImmediate(keep, port);
