// `restore --follow`: keeps a standby at the newest point, as long as it runs. What is done is decided in advance.ts, and how the file
// changes hands in standby.ts. See docs/operations.md#a-warm-standby.

import { setTimeout as sleep } from "node:timers/promises";
import { isPageferryError, PageferryError, type RestorePlan, type RestoreTarget } from "@pageferry/format";
import type { RestoreFileOptions } from "@pageferry/format/node";
import type { BackupSource } from "../backup-source.ts";
import type { Io } from "../io.ts";
import { type Advance, decideAdvance, type StandbyPoint } from "./advance.ts";
import type { Report } from "./report.ts";
import type { Standby } from "./standby.ts";

/** What is followed, and how. */
export interface FollowOptions extends Pick<RestoreFileOptions, "parallelism" | "integrity"> {
  readonly standby: Standby;
  /** Opens the archive; again after it failed. */
  open(): Promise<BackupSource>;
  /** The newest point of one generation, where one is named. */
  readonly target: Pick<RestoreTarget, "generation">;
  readonly intervalMs: number;
  readonly io: Pick<Io, "signal">;
  readonly report: Report;
  /** Asked before a file is published for the first time. */
  readonly judge: (path: string) => Promise<void>;
}

/** A place that does not answer is asked again with growing pauses, up to this. */
const pauseMsMax = 30_000;

/** A place that was left out when the archive was opened is tried again after this. */
const reopenMs = 10 * 60_000;

/** Where only a plan says whether there is news, which a host answers with a lease, it is asked for no more often. */
const planMsMin = 10_000;

/** Failures that no waiting heals: a person has to look. */
const isFinal = (error: unknown): boolean =>
  (["conflict", "harmful", "unacknowledged"] as const).some((code) => isPageferryError(error, code));

/** Follows until the signal. Errors: `conflict`, `harmful`, `unacknowledged`; before there is a standby, all that time does not heal. */
export async function follow(options: FollowOptions): Promise<void> {
  const { standby, intervalMs, io, report } = options;
  await using places = createPlaces(options.open);
  report.begun(standby.state());
  let failures = 0;
  while (!io.signal.aborted) {
    const startMs = performance.now();
    let pauseMs = intervalMs;
    try {
      const isBusy = await round(await places.open(), options);
      // What is copied, fetched and checked may take half of the time, and not all of it.
      if (isBusy) pauseMs = Math.max(intervalMs, performance.now() - startMs);
      failures = 0;
    } catch (error) {
      if (io.signal.aborted) return;
      await places.close();
      const mayPass = isPageferryError(error) && (error.remedy === "retry" || standby.state() !== undefined);
      if (isFinal(error) || !(mayPass || isPageferryError(error, "locked"))) throw error;
      report.waiting(error, standby.state());
      pauseMs = Math.max(intervalMs, Math.min(pauseMsMax, 1000 * 2 ** failures));
      failures += 1;
    }
    await sleep(pauseMs, undefined, { signal: io.signal }).catch(() => undefined);
  }
}

/** The archive that is open, which is opened again when it failed, and now and then. */
function createPlaces(open: () => Promise<BackupSource>) {
  let source: BackupSource | undefined;
  let openedMs = 0;
  const close = async (): Promise<void> => {
    const old = source;
    source = undefined;
    await old?.[Symbol.asyncDispose]();
  };
  return {
    async open(): Promise<BackupSource> {
      if (performance.now() > openedMs + reopenMs) await close();
      if (source === undefined) openedMs = performance.now();
      source ??= await open();
      return source;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** When a source was last asked for a plan that may have brought nothing. */
const plannedMs = new WeakMap<BackupSource, number>();

/** Looks once, and does what there is to do. True: something was published. */
async function round(source: BackupSource, options: FollowOptions): Promise<boolean> {
  const { standby, target, io, report } = options;
  await standby.look();
  const newest = target.generation === undefined ? await source.newest?.(io.signal) : undefined;
  const point = standby.state();
  const isKnown =
    newest !== undefined && point?.generation === newest.generation && newest.txId <= point.txId;
  const isTooSoon =
    newest === undefined &&
    source.newest !== undefined &&
    performance.now() < (plannedMs.get(source) ?? Number.NEGATIVE_INFINITY) + planMsMin;
  if (isKnown || isTooSoon) {
    report.upToDate();
    return false;
  }
  plannedMs.set(source, performance.now());
  const plan = await source.plan(target, io.signal);
  report.warn(plan.warnings);
  const epoch = plan.epoch ?? (newest?.generation === plan.generation ? newest.epoch : null);
  const known = epoch === null ? plan : { ...plan, epoch };
  const advance = decideAdvance({ point, left: standby.left() }, known);
  if (advance.kind === "older") throw behind(advance.why);
  if (advance.kind === "none") {
    report.upToDate();
    return false;
  }
  await carryOut(advance, { source, plan: known, point }, options);
  return true;
}

function behind(why: string): PageferryError {
  return new PageferryError("unavailable", `nothing that is newer can be restored: ${why}`, {
    hint: "A replica may be away, or points were removed. The standby stays as it is until something newer is there.",
  });
}

interface Asked {
  readonly source: BackupSource;
  /** From the snapshot on. */
  readonly plan: RestorePlan;
  readonly point: StandbyPoint | undefined;
}

/** Goes on from what is there, and where that does not hold, from the snapshot. */
async function carryOut(
  advance: Extract<Advance, { plan: RestorePlan }>,
  { source, plan, point }: Asked,
  { standby, parallelism, integrity, io, judge, report }: FollowOptions,
): Promise<void> {
  const shared = {
    ...{ readers: source.readers, stallMs: source.stallMs, parallelism, signal: io.signal },
    // What is not checked is not published.
    integrity: integrity === "full" ? integrity : ("quick" as const),
    epoch: plan.epoch ?? null,
    ...(point === undefined ? { judge } : {}),
  };
  let why = advance.kind === "whole" ? advance.why : undefined;
  if (advance.kind === "delta") {
    try {
      const result = await standby.publish({ ...shared, plan: advance.plan, isDelta: true });
      return report.published({ result, how: "delta", why });
    } catch (error) {
      if (!isOfTheWay(error)) throw error;
      why = error.message;
    }
  }
  const replan = (without: ReadonlySet<string>, { generation, txId }: RestorePlan) =>
    source.plan({ generation, txId }, io.signal, without);
  const result = await standby.publish({ ...shared, plan, isDelta: false, replan });
  report.published({ result, how: "whole", why });
}

/** What says that the way from here does not hold, and nothing of another one. */
function isOfTheWay(error: unknown): error is PageferryError {
  return (["corrupt", "not-found", "gap", "too-large"] as const).some((code) =>
    isPageferryError(error, code),
  );
}
