// Each replica, by doing there once what a backup does, with an object of the doctor's own.

import { randomBytes } from "node:crypto";
import {
  type Config,
  isPageferryError,
  PageferryError,
  type ReplicaConfig,
  replicaLabel,
} from "@pageferry/format";
import { probeStore } from "@pageferry/functions";
import { openStore } from "@pageferry/functions/stores/open";
import { replicaDir } from "../data-dir.ts";
import { type Finding, failed, ok } from "./finding.ts";

interface ReplicasOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly signal: AbortSignal;
}

/** A store that has not done all of it by then is not one to wait for at each commit. */
const probeMs = 60_000;

/** Probes all of them at once; nothing for an agent alone, which has none. */
export async function lookAtReplicas({ config, dataDir, signal }: ReplicasOptions): Promise<Finding[]> {
  if (config.queue !== undefined) return [];
  const own: ReplicaConfig = { type: "file", path: replicaDir(dataDir) };
  const entries = config.replicas.length > 0 ? config.replicas : [own];
  return (await Promise.all(entries.map((entry) => lookAtReplica(entry, signal)))).flat();
}

async function lookAtReplica(entry: ReplicaConfig, signal: AbortSignal): Promise<Finding[]> {
  const subject = replicaLabel(entry);
  const over = AbortSignal.timeout(probeMs);
  try {
    await using store = await openStore(entry);
    const {
      steps,
      failed: wrong,
      differences,
    } = await probeStore(store, {
      random: randomBytes(16),
      signal: AbortSignal.any([signal, over]),
    });
    if (wrong !== undefined) {
      const { step, error } = wrong;
      const { code, message: why, hint } = error;
      return [
        failed("replica", subject, new PageferryError(code, `${step}: ${why}`, { cause: error, hint })),
      ];
    }
    const times = steps.map(({ step, ms }) => `${step} ${ms}`).join(", ");
    return [
      ok("replica", subject, `writes, reads, lists and deletes, in ms: ${times}`),
      ...differences.map(
        ({ what, todo }) => ({ level: "warn", area: "replica", subject, says: what, todo }) as const,
      ),
    ];
  } catch (error) {
    signal.throwIfAborted();
    if (over.aborted) {
      const late = new PageferryError("timeout", `not probed in ${probeMs / 1000} s`, {
        cause: error,
        hint: "See whether the server is reached, and how it does.",
      });
      return [failed("replica", subject, late)];
    }
    if (!isPageferryError(error)) throw error;
    return [failed("replica", subject, error)];
  }
}
