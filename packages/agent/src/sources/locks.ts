// Who holds bolt's lock: flock(2) on the database file, as /proc/locks shows it. We only ever read; a lock of ours could
// keep the application from starting.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { dirname } from "node:path";

/** An exclusive flock. */
export interface HeldLock {
  readonly processId: number;
  /** Device and inode as the kernel writes them: `fe:00:1704030`. */
  readonly file: string;
}

/** The exclusive flocks in the text of /proc/locks. Lines that say something else are passed over. */
export function parseHeldLocks(text: string): HeldLock[] {
  const locks: HeldLock[] = [];
  for (const line of text.split("\n")) {
    // "3: FLOCK  ADVISORY  WRITE 4711 fe:00:1704030 0 EOF"; a line with "->" waits for a lock and holds none.
    const match = /^\d+: FLOCK\s+\S+\s+WRITE\s+(\d+)\s+([0-9a-f]+:[0-9a-f]+:\d+) /.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) {
      locks.push({ processId: Number(match[1]), file: match[2] });
    }
  }
  return locks;
}

/** What can be learned about locks. Answers are up to a second old. */
export interface LockTable {
  /** Whether somebody holds an exclusive flock on the file. False also where locks cannot be seen, as in another container. */
  isHeld(path: string, device: string, inode: string): boolean;
  /** Whether a process that holds a flock has a file open that had this path and was unlinked or replaced. */
  isHeldUnlinked(path: string): boolean;
}

const maxAgeMs = 1000;

/** Reads /proc when asked, not more often than once a second for all databases together. */
export function createLockTable(clockMs: () => number, procPath = "/proc"): LockTable {
  let readAtMs = -Infinity;
  let locks: HeldLock[] = [];
  let held = new Set<string>();
  let devices = new Map<string, string>();
  let unlinked: Set<string> | undefined;

  function refresh(): void {
    if (clockMs() - readAtMs < maxAgeMs) return;
    readAtMs = clockMs();
    locks = parseHeldLocks(readText(`${procPath}/locks`));
    held = new Set(locks.map((lock) => lock.file));
    devices = mountDevices(readText(`${procPath}/self/mountinfo`));
    unlinked = undefined;
  }

  return {
    isHeld(path, device, inode) {
      refresh();
      if (held.has(`${deviceText(BigInt(device))}:${inode}`)) return true;
      // On btrfs and overlays stat tells another device than the file system's own, which the kernel writes.
      const mounted = deviceOfMount(devices, path);
      return mounted !== undefined && held.has(`${mounted}:${inode}`);
    },
    isHeldUnlinked(path) {
      refresh();
      unlinked ??= unlinkedFiles(procPath, new Set(locks.map((lock) => lock.processId)));
      return unlinked.has(path);
    },
  };
}

/** Major and minor of a device number (as glibc packs them), as the kernel writes them. */
function deviceText(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return hexPair(major, minor);
}

function hexPair(major: bigint, minor: bigint): string {
  return `${major.toString(16).padStart(2, "0")}:${minor.toString(16).padStart(2, "0")}`;
}

/** Mount point to device, from the text of /proc/self/mountinfo. */
function mountDevices(text: string): Map<string, string> {
  const devices = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, , numbers, , point] = line.split(" ");
    const [major, minor] = (numbers ?? "").split(":");
    if (point === undefined || major === undefined || minor === undefined) continue;
    const plain = point.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    devices.set(plain, hexPair(BigInt(major), BigInt(minor)));
  }
  return devices;
}

function deviceOfMount(devices: ReadonlyMap<string, string>, path: string): string | undefined {
  for (let at = path; ; at = dirname(at)) {
    const device = devices.get(at);
    if (device !== undefined || at === dirname(at)) return device;
  }
}

/** Paths of the unlinked files that these processes have open. Processes of other users cannot be looked into. */
function unlinkedFiles(procPath: string, processIds: ReadonlySet<number>): Set<string> {
  const paths = new Set<string>();
  const mark = " (deleted)";
  for (const processId of processIds) {
    const directory = `${procPath}/${processId}/fd`;
    try {
      for (const name of readdirSync(directory)) {
        const target = readlinkSync(`${directory}/${name}`);
        if (target.endsWith(mark)) paths.add(target.slice(0, -mark.length));
      }
    } catch {
      // It ended meanwhile, or is another user's.
    }
  }
  return paths;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
