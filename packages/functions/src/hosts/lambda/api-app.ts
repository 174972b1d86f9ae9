// The API of a deployment: the same app as every host's, over what a function knows. It reads archives and gives leases and pins; what changes
// archives is left to the functions that have the right to.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type DatabaseName, PageferryError, parseDatabaseName } from "@pageferry/format";
import { type ApiOptions, createApi } from "../../api.ts";
import { createAuthenticate } from "../../auth.ts";
import { createFailureLimit } from "../../failures.ts";
import { createHolds } from "../../holds.ts";
import { ingest } from "../../ingest.ts";
import { createLeases } from "../../leases.ts";
import { manifestSigner } from "../../manifest-key.ts";
import { createPins } from "../../pin-replicas.ts";
import { createRepairer } from "../../repairer.ts";
import { createRestoredImages } from "../../restored-images.ts";
import { sweepScratch } from "../../scratch.ts";
import { alarmStatus } from "../../status.ts";
import { createTimekeeper } from "../../timekeeper.ts";
import { createWaiting, type WaitFor } from "../../wait.ts";
import { replayDeadLetters } from "./dead-letters.ts";
import { forwardQueue } from "./forward.ts";
import type { CallBeside, Serve } from "./http.ts";
import type { Standing } from "./standing.ts";
import { createUpload } from "./upload.ts";

/** What people and restores look at is this new. */
const shownAgeMs = 5000;

/** What agents ask for every minute may be older: what is missing is waited for much longer. */
const askedAgeMs = 5 * 60_000;

/** Forks, for what comes in; who takes from the queue looks again. */
const checkedAgeMs = 60_000;

/** A look at all databases lists them all, and anybody may ask for it. */
const healthAgeMs = 30_000;

/** How often it is looked whether what is waited for has come. */
const waitLookMs = 2000;

/** Lambda streams at most 200 MB. */
const streamBytesMax = 200 * 1000 * 1000;

/** Left of an invocation for its answer. */
const marginMs = 5000;

/** Makes what serves calls. Nothing is read before the first of them but what `standing` has. */
export async function createLambdaApi(standing: Standing): Promise<Serve> {
  const { scratchDir, telemetry, notes } = standing;
  await sweepScratch(scratchDir, false, standing.now());
  // A function is given one call after the other.
  const invocation = { remainingMs: (): number => Number.POSITIVE_INFINITY };
  const app = createApi({
    ...callers(standing),
    ...incoming(standing),
    ...shown(standing, invocation),
    ...work(standing, invocation),
    onUnexpected: (err, where) => telemetry.log.error({ err, ...where }, "unexpected error"),
  });
  return async (request, beside: CallBeside) => {
    invocation.remainingMs = beside.remainingMs;
    try {
      return await app.fetch(request, { address: beside.address });
    } finally {
      // What could not be noted is noted by the next call.
      await notes
        .save()
        .catch((error: unknown) => telemetry.log.warn({ error }, "notes cannot be written now"));
      telemetry.flush();
    }
  };
}

interface Invocation {
  readonly remainingMs: () => number;
}

function callers({
  environment,
  telemetry,
  now,
}: Standing): Pick<ApiOptions, "now" | "authenticate" | "signer"> {
  const records = new Map(environment.tokens.map((record) => [record.id, record]));
  return {
    now,
    authenticate: createAuthenticate({
      ...{ now, failures: createFailureLimit(() => performance.now()) },
      book: { find: async (id) => records.get(id) },
      onMany: (address) => telemetry.log.warn({ address }, "many wrong tokens come from one address"),
    }),
    ...(environment.manifestKey && { signer: manifestSigner(environment.manifestKey) }),
  };
}

/** What agents send goes into the queue; who takes from there tells of it. */
function incoming(
  standing: Standing,
): Pick<ApiOptions, "stage" | "stagePlace" | "ingest" | "needs" | "holds"> {
  const { environment, queues, store, databases, forks, holes, targets, now } = standing;
  const { queueUrl, deployStage, config } = environment;
  const upload = createUpload({ store, now });
  const door = {
    ...{ stage: upload, now, admit: databases.admit, checkFork: forks.check, queuesHeartbeats: true },
    queue: queueUrl === undefined ? nowhere : forwardQueue({ queues, queueUrl, deployStage }),
    ...{ sources: { heard: () => undefined, get: () => undefined }, room: { check: async () => undefined } },
    onNoRoom: () => undefined,
  };
  const known = new Set<string>(config.databases.map(({ name }) => name));
  const holds = createHolds({ targets, snapshotIntervalMs: config.snapshotIntervalMs });
  return {
    stage: upload,
    stagePlace: upload.place,
    async ingest(envelope: Uint8Array, mayAdd: (database: DatabaseName) => void) {
      await standing.refresh(checkedAgeMs);
      return ingest(envelope, door, (database) => {
        mayAdd(database);
        if (known.size > 0 && !known.has(database)) throw unknownDatabase(database, known);
      });
    },
    async needs(database: DatabaseName, call: { readonly signal?: AbortSignal | undefined }) {
      await Promise.all([standing.refresh(askedAgeMs, call), standing.relist(database, askedAgeMs, call)]);
      const needs = await databases.needs(database, call);
      holes.keep(database);
      return needs;
    },
    async holds(database, point, call) {
      await standing.relist(database, shownAgeMs, call);
      return holds(database, point, call);
    },
  };
}

const nowhere: Parameters<typeof ingest>[1]["queue"] = {
  send: () =>
    Promise.reject(
      new PageferryError("bad-config", "PAGEFERRY_QUEUE_URL: is not set, so nothing is taken here"),
    ),
};

function unknownDatabase(database: DatabaseName, known: ReadonlySet<string>): PageferryError {
  return new PageferryError("forbidden", `database ${database} is none of ${[...known].join(", ")}`, {
    hint: "Add it to `databases` of the deployment, or correct the agent's name of it.",
  });
}

type Shown = Pick<
  ApiOptions,
  "healthAgeMs" | "status" | "databases" | "readers" | "alarms" | "lagHistory" | "waitFor" | "closing"
>;

/** What is shown is as new as somebody who looks expects, and no newer than that: each look lists. */
function shown(standing: Standing, invocation: Invocation): Shown {
  const { databases, verified, targets, telemetry, sources } = standing;
  const renew = async (database: DatabaseName, ageMsMax = shownAgeMs) => {
    await Promise.all([standing.refresh(ageMsMax), standing.relist(database, ageMsMax)]);
  };
  const status = async (database: DatabaseName) => {
    await renew(database);
    await Promise.allSettled(targets.map((target) => verified.read(target, database)));
    return databases.status(database);
  };
  const waitFor = createWaiting({
    ...{ sources, targets, databases: { ...databases, status } },
    changes: {
      // Nobody here hears of what other functions store.
      async wait(database, delayMs, signal) {
        await sleep(Math.min(delayMs, waitLookMs), undefined, { signal }).catch(() => undefined);
        await renew(parseDatabaseName(database), waitLookMs / 2);
      },
    },
  });
  return {
    healthAgeMs,
    status,
    async databases() {
      await standing.refresh(shownAgeMs);
      return databases.databases();
    },
    async readers(database: DatabaseName) {
      await renew(database);
      return databases.readers(database);
    },
    alarms: () => telemetry.alarms.list().map(alarmStatus),
    lagHistory: () => ({ everyMs: 60_000, lagMs: [] }),
    waitFor: within(waitFor, invocation),
    closing: new AbortController().signal,
  };
}

/** No wait is longer than its invocation. */
function within(waitFor: WaitFor, { remainingMs }: Invocation): WaitFor {
  return (database, request) => {
    const timeoutMs = Math.max(0, Math.min(request.timeoutMs, remainingMs() - marginMs));
    return waitFor(database, { ...request, timeoutMs });
  };
}

/** Restores, leases and pins; and of the rest what only looks. */
function work(standing: Standing, invocation: Invocation) {
  const { environment, targets, telemetry, scratchDir, forks, now } = standing;
  const { config } = environment;
  const { alarms } = telemetry;
  const shared = { targets, alarms, config, now };
  const timekeeper = createTimekeeper({ ...shared, scratchDir, holder: `api ${randomUUID()}` });
  const repairer = createRepairer(shared);
  return {
    images: createRestoredImages({ scratchDir }),
    streamBytesMax,
    lease: createLeases({ targets, now }),
    pins: createPins({ targets, now }),
    replay: (request: Parameters<typeof replayDeadLetters>[0]) =>
      replayDeadLetters(request, { ...standing, forks, remainingMs: invocation.remainingMs }),
    repair: onlyLooking("repair", repairer.repair),
    compact: onlyLooking("compact", timekeeper.compact),
    prune: onlyLooking("prune", timekeeper.prune),
    verify: () => Promise.reject(notHere("verify")),
    ...(config.inspect && { inspect: { onUse: (use: object) => telemetry.log.info(use, "inspect") } }),
  };
}

function onlyLooking<Asked extends { readonly dryRun?: boolean }, Report>(
  task: string,
  look: (database: DatabaseName, asked: Asked) => Promise<Report>,
): (database: DatabaseName, asked: Asked) => Promise<Report> {
  return async (database, asked) => {
    if (asked.dryRun !== true) throw notHere(task);
    return look(database, asked);
  };
}

function notHere(task: string): PageferryError {
  return new PageferryError("forbidden", `${task}: the API of a deployment may not change what is stored`, {
    hint: `The function for it does so on its schedule. To do it now: aws lambda invoke, with {"database": "…"} as payload.`,
  });
}
