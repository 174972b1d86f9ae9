// Which file, on which boot of which machine. Restart rules compare these (docs/capture.md#restart).
import { type BigIntStats, readFileSync } from "node:fs";

/** What tells one database file from another. All texts, so that a cursor can keep it as JSON. */
export interface FileIdentity {
  /** Device number, decimal. */
  readonly device: string;
  /** Inode number, decimal. */
  readonly inode: string;
  /** Birth time in nanoseconds, decimal; "0" where the file system has none. */
  readonly birthtimeNs: string;
  /** Changes with every boot; empty where unknown, which never equals anything. */
  readonly bootId: string;
  /** Stays with a machine; empty where unknown, which never equals anything. */
  readonly machineId: string;
}

/** The part of an identity that belongs to the machine and not to a file. */
export interface MachineIdentity {
  readonly bootId: string;
  readonly machineId: string;
}

/** Of a file that was read by somebody else: it equals no other. */
export const noIdentity: FileIdentity = {
  device: "",
  inode: "",
  birthtimeNs: "",
  bootId: "",
  machineId: "",
};

/** How alike two identities are: the most that may be concluded from them. */
export interface IdentityMatch {
  readonly sameFile: boolean;
  readonly sameBoot: boolean;
  readonly sameMachine: boolean;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

/** Reads this machine's identity. Elsewhere than on Linux both texts are empty, so that no restart is trusted. */
export function readMachineIdentity(): MachineIdentity {
  return {
    bootId: readText("/proc/sys/kernel/random/boot_id"),
    machineId: readText("/etc/machine-id") || readText("/var/lib/dbus/machine-id"),
  };
}

/** The identity of the file that `stats` (of fstat with `bigint: true`) describes. */
export function fileIdentity(
  stats: Pick<BigIntStats, "dev" | "ino" | "birthtimeNs">,
  machine: MachineIdentity,
): FileIdentity {
  return {
    device: stats.dev.toString(),
    inode: stats.ino.toString(),
    birthtimeNs: stats.birthtimeNs.toString(),
    ...machine,
  };
}

/** Compares two identities. What is unknown on either side is different. */
export function matchIdentities(a: FileIdentity, b: FileIdentity): IdentityMatch {
  return {
    sameFile: a.device === b.device && a.inode === b.inode && a.birthtimeNs === b.birthtimeNs,
    sameBoot: a.bootId !== "" && a.bootId === b.bootId,
    sameMachine: a.machineId !== "" && a.machineId === b.machineId,
  };
}
