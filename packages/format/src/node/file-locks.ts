// Who holds a file locked, as the kernel tells it in /proc/locks. bolt holds flock(2) on its file from open to close, so a writer shows.
// Nothing is locked here: a lock of ours would keep the application from starting.

import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/** A lock on a file. */
export interface FileLock {
  /** 0 where the kernel does not tell, as for a process in another PID namespace. */
  readonly pid: number;
  readonly isExclusive: boolean;
}

/**
 * The locks held on a file; none where it is not there. On systems without /proc/locks, and for holders in another PID namespace that
 * the kernel hides, the answer is none as well: it proves a holder, never the absence of one.
 */
export async function fileLocks(path: string): Promise<FileLock[]> {
  let inode: bigint;
  let device: bigint;
  try {
    const found = await stat(path, { bigint: true });
    inode = found.ino;
    device = found.dev;
  } catch {
    return [];
  }
  const text = await readOrEmpty("/proc/locks");
  if (!text.includes(`:${inode} `)) return [];
  const devices = new Set([
    deviceText(device),
    mountDevice(await readOrEmpty("/proc/self/mountinfo"), resolve(path)),
  ]);
  return parseLocks(text, inode, devices);
}

/** Picks the locks of one inode out of the text of /proc/locks. */
export function parseLocks(
  text: string,
  inode: bigint,
  devices: ReadonlySet<string | undefined>,
): FileLock[] {
  const locks: FileLock[] = [];
  for (const line of text.split("\n")) {
    // `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`; a waiter has `->` after the number and holds nothing.
    const match = /^\d+: \S+\s+\S+\s+(READ|WRITE)\s+(-?\d+) ([0-9a-f]+:[0-9a-f]+):(\d+) /.exec(line);
    if (match === null || BigInt(match[4] ?? "") !== inode || !devices.has(match[3])) continue;
    locks.push({ pid: Math.max(0, Number(match[2])), isExclusive: match[1] === "WRITE" });
  }
  return locks;
}

/** A device as /proc/locks writes it: two hex digits, or more, each side. */
function deviceText(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return hexPair(major, minor);
}

function hexPair(major: bigint, minor: bigint): string {
  return `${major.toString(16).padStart(2, "0")}:${minor.toString(16).padStart(2, "0")}`;
}

/** The device of the file system itself, which on btrfs and overlays differs from what stat says of a file. */
function mountDevice(mountinfo: string, path: string): string | undefined {
  const devices = new Map<string, string>();
  for (const line of mountinfo.split("\n")) {
    const [, , numbers, , point] = line.split(" ");
    const [major, minor] = (numbers ?? "").split(":");
    if (point === undefined || major === undefined || minor === undefined) continue;
    const plain = point.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    devices.set(plain, hexPair(BigInt(major), BigInt(minor)));
  }
  for (let at = path; ; at = dirname(at)) {
    const device = devices.get(at);
    if (device !== undefined) return device;
    if (at === dirname(at)) return undefined;
  }
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return "";
  }
}
