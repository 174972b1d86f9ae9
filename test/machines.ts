// Machines of their own, as far as a program can tell: another host name, another machine id, another boot. Needs root, as the tests in CI have.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import type { TemporaryDirectory } from "./temporary.ts";

export interface Machine {
  readonly name: string;
  /** The command that runs a program there. The process keeps its id. */
  runs(command: string, args: readonly string[]): readonly [string, string[]];
}

const bootId = "/proc/sys/kernel/random/boot_id";

/** Sets up one that has just booted; it sees the same files and the same network. */
export async function machineOf(name: string, directory: TemporaryDirectory): Promise<Machine> {
  const [machine, boot] = [directory.file(`${name}.machine-id`), directory.file(`${name}.boot-id`)];
  await writeFile(machine, `${randomUUID().replaceAll("-", "")}\n`);
  await writeFile(boot, `${randomUUID()}\n`);
  const script = [
    'hostname "$1"',
    "touch /etc/machine-id",
    'mount --bind "$2" /etc/machine-id',
    `mount --bind "$3" ${bootId}`,
    'shift 3 && exec "$@"',
  ].join(" && ");
  return {
    name,
    runs: (command, args) => [
      "unshare",
      ["--mount", "--uts", "sh", "-c", script, "sh", name, machine, boot, command, ...args],
    ],
  };
}
