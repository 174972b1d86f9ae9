// The agent's own warning of the data-loss window: commits that were captured and that the host has not acknowledged for too
// long, for whatever reason. The host warns of its replicas; of one that is away, or never heard of a commit, only the agent can.
import type { Alarms } from "./alarms.ts";
import type { Lag } from "./lag.ts";

/** A source that moves while its backup does not is told within a minute, looked for every second. */
const thresholdMsDefault = 54_000;

/** What the warning is made from. */
export interface LagFacts {
  readonly lag: Lag;
  readonly alarms: Alarms;
  readonly nowMs: number;
  /** 0: about a minute. */
  readonly thresholdMs: number;
}

/** Raises `lag` while the window is wider than the threshold; clears it when it is not. */
export function watchLag({ lag, alarms, nowMs, thresholdMs }: LagFacts): void {
  const lagMs = lag.lagMs(nowMs);
  if (lagMs <= (thresholdMs || thresholdMsDefault)) {
    alarms.clear("lag");
    return;
  }
  alarms.raise("lag", {
    code: "lag",
    message: `commits that are ${Math.round(lagMs / 1000)} s old are not at the host yet`,
    hint: "They are in the shadow, on this machine alone. See its other alarms, and whether the host answers.",
  });
}
