// A command of ours, measured from outside: how long it took, and the highest resident set that was seen.
import { setTimeout as sleep } from "node:timers/promises";
import { pageferryCommand } from "../test/pageferry.ts";
import { residentBytes, startProcess } from "../test/processes.ts";

export interface Measured {
  readonly ms: number;
  readonly peakBytes: number;
}

/** Runs a command to its end; throws what it printed where it fails. */
export async function measured(args: readonly string[]): Promise<Measured> {
  const begun = performance.now();
  await using child = startProcess(...pageferryCommand([...args]));
  let peakBytes = 0;
  while (child.isRunning()) {
    const { peak } = await residentBytes(child.pid).catch(() => ({ peak: 0 }));
    peakBytes = Math.max(peakBytes, peak);
    await sleep(10);
  }
  const { code } = await child.ended;
  if (code !== 0) throw new Error(`${args.join(" ")}: ${child.output()}`);
  return { ms: performance.now() - begun, peakBytes };
}
