// What a host is measured by, in OpenMetrics text: docs/monitoring.md. Counters are told when something happens; gauges are
// read from the status when somebody asks. The only file that knows prom-client.

import type { DatabaseName } from "@pageferry/format";
import { Counter, Gauge, Histogram, type OpenMetricsContentType, Registry } from "prom-client";
import type { Alarm } from "./alarms.ts";
import type { Observe } from "./measured-store.ts";
import type { DatabaseStatus } from "./status.ts";
import type { ReplicaStatus } from "./status-replica.ts";

/** From a small object on a near disk to a large one on a slow line. */
const durationBucketsSeconds = [0.005, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 120];

/** Two collectors, or one that asks too often, are given the same answer: it costs a look at every database. */
const answerAgeMs = 1000;

type OpenRegistry = Registry<OpenMetricsContentType>;

/** What gauges are read from. */
export interface MetricsSources {
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly standing: (database: DatabaseName) => DatabaseStatus;
  /** Stretches of the current generation that no replica has, and that do not come any more. */
  readonly gaps: (database: DatabaseName) => number;
  /** What a database takes in a replica; `undefined` until it was counted. */
  readonly storedBytes: (database: DatabaseName, replica: string) => number | undefined;
  readonly queueBytes: () => number;
  readonly alarms: () => readonly Alarm[];
}

export interface MetricsText {
  readonly contentType: string;
  readonly body: string;
}

export interface Metrics {
  /** For `measured`: what is done with the store of a replica. */
  observe(replica: string): Observe;
  /** An envelope of so many bytes was taken, or refused with a code. */
  ingested(bytes: number, code?: string): void;
  /** A webhook or a heartbeat was called. */
  told(kind: "webhook" | "heartbeat", result: "sent" | "failed" | "dropped"): void;
  text(sources: MetricsSources): Promise<MetricsText>;
}

export interface MetricsOptions {
  readonly version: string;
  readonly startedAtMs: number;
}

/** One registry for one host: two hosts in a process do not count each other's work. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry: OpenRegistry = new Registry();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const counters = createCounters(registry);
  const gauges = createGauges(registry);
  const info = gauge(registry, "pageferry_build_info", "1, with the version as a label.", ["version"]);
  info.set({ version: options.version }, 1);
  const started = gauge(registry, "pageferry_start_timestamp_seconds", "When the host was started.", []);
  started.set(options.startedAtMs / 1000);
  let answer: { readonly atMs: number; readonly text: Promise<MetricsText> } | undefined;
  const read = async (sources: MetricsSources): Promise<MetricsText> => {
    await readGauges(gauges, sources);
    return { contentType: registry.contentType, body: await registry.metrics() };
  };
  return {
    ...counters,
    text(sources) {
      // Also because nobody may set gauges while they are written out.
      if (answer === undefined || performance.now() - answer.atMs > answerAgeMs) {
        const before = answer?.text.catch(() => undefined) ?? Promise.resolve();
        answer = { atMs: performance.now(), text: before.then(() => read(sources)) };
      }
      return answer.text;
    },
  };
}

function gauge<Label extends string>(
  registry: OpenRegistry,
  name: string,
  help: string,
  labelNames: Label[],
) {
  return new Gauge({ name, help, labelNames, registers: [registry] });
}

function counter<Label extends string>(
  registry: OpenRegistry,
  name: string,
  help: string,
  labelNames: Label[],
) {
  return new Counter({ name, help, labelNames, registers: [registry] });
}

function createCounters(registry: OpenRegistry): Omit<Metrics, "text"> {
  const labels: ("replica" | "operation")[] = ["replica", "operation"];
  const operations = counter(
    registry,
    "pageferry_replica_operation_total",
    "Operations on a replica that have ended, well or not.",
    labels,
  );
  const bytesMoved = counter(
    registry,
    "pageferry_replica_operation_bytes_total",
    "Bytes that operations on a replica moved.",
    labels,
  );
  const errors = counter(
    registry,
    "pageferry_replica_operation_errors_total",
    "Operations on a replica that failed, by the code of the error.",
    [...labels, "code"],
  );
  const durations = new Histogram({
    name: "pageferry_replica_operation_duration_seconds",
    help: "How long operations on a replica took, repetitions included.",
    labelNames: labels,
    buckets: durationBucketsSeconds,
    registers: [registry],
  });
  const envelopes = counter(registry, "pageferry_ingest_envelopes_total", "Envelopes that were taken.", []);
  const ingestBytes = counter(registry, "pageferry_ingest_bytes_total", "Bytes of them.", []);
  const refused = counter(registry, "pageferry_ingest_errors_total", "Envelopes that were refused.", [
    "code",
  ]);
  const calls = counter(
    registry,
    "pageferry_notifications_total",
    "Calls of webhooks and heartbeats, by how they ended.",
    ["kind", "result"],
  );
  return {
    observe:
      (replica) =>
      ({ operation, seconds, bytes, code }) => {
        operations.inc({ replica, operation });
        bytesMoved.inc({ replica, operation }, bytes);
        durations.observe({ replica, operation }, seconds);
        if (code !== undefined) errors.inc({ replica, operation, code });
      },
    ingested(bytes, code) {
      if (code !== undefined) refused.inc({ code });
      else {
        envelopes.inc();
        ingestBytes.inc(bytes);
      }
    },
    told: (kind, result) => calls.inc({ kind, result }),
  };
}

type Gauges = ReturnType<typeof createGauges>;

function createGauges(registry: OpenRegistry) {
  const perDatabase = (name: string, help: string) =>
    gauge(registry, `pageferry_${name}`, help, ["database"]);
  const perReplica = (name: string, help: string) =>
    gauge(registry, `pageferry_replica_${name}`, help, ["database", "replica"]);
  return {
    txid: perDatabase("txid", "The newest transaction that the agent has seen."),
    lag: perDatabase("lag_seconds", "The data-loss window: the lag of the replica that is furthest behind."),
    lastHeard: perDatabase(
      "last_heard_timestamp_seconds",
      "When the agent was last heard of; none once it is no longer backed up, on purpose.",
    ),
    gaps: perDatabase("gap_count", "Holes that no replica can fill and that nothing is on its way to fill."),
    queueDepth: perDatabase("queue_depth", "Messages that no replica was offered yet."),
    replicaTxid: perReplica("txid", "The newest transaction that can be restored."),
    replicaLag: perReplica("lag_seconds", "The age of the oldest commit that is lacking; 0 when none is."),
    replicaDepth: perReplica("queue_depth", "Messages that wait for the replica."),
    replicaQueueBytes: perReplica("queue_bytes", "Bytes of those messages."),
    deadLetters: perReplica("dead_letters", "Messages that could not be delivered and are set aside."),
    quarantined: perReplica("quarantined_objects", "Objects that are set aside."),
    needsRepair: perReplica("needs_repair", "1 when it lacks what its lane let go of."),
    storedBytes: perReplica("stored_bytes", "What the database takes; counted every minute."),
    lastVerified: perReplica(
      "last_verified_timestamp_seconds",
      "When a restore from it was last proved; absent until one was.",
    ),
    up: gauge(registry, "pageferry_replica_up", "1 when it is asked, 0 when it is left alone.", ["replica"]),
    failures: gauge(registry, "pageferry_replica_failures", "Failures in a row.", ["replica"]),
    queueBytes: gauge(registry, "pageferry_queue_bytes", "Bytes that wait in the queue.", []),
    alarms: gauge(registry, "pageferry_alarms", "1 for each alarm that stands.", [
      "code",
      "database",
      "replica",
    ]),
  };
}

async function readGauges(gauges: Gauges, sources: MetricsSources): Promise<void> {
  const databases = await sources.databases();
  // From here on without waiting: what stands at one moment.
  for (const one of Object.values(gauges)) one.reset();
  gauges.queueBytes.set(sources.queueBytes());
  for (const { code, database = "", replica = "" } of sources.alarms())
    gauges.alarms.set({ code, database, replica }, 1);
  for (const database of databases) {
    const status = sources.standing(database);
    setDatabase(gauges, status, sources.gaps(database));
    for (const replica of status.replicas) {
      setReplica(gauges, status.name, replica);
      const labels = { database, replica: replica.name };
      setKnown(gauges.storedBytes, labels, sources.storedBytes(database, replica.name));
      const verified = replica.verified?.verdict === "FOUND" ? Date.parse(replica.verified.time) : undefined;
      setKnown(gauges.lastVerified, labels, seconds(verified));
    }
  }
}

function setDatabase(gauges: Gauges, status: DatabaseStatus, gapCount: number): void {
  const labels = { database: status.name };
  setKnown(gauges.txid, labels, txIdNumber(status.txid));
  setKnown(gauges.lag, labels, seconds(status.lagMs));
  // Nobody waits to hear of one that was let go on purpose.
  if (status.parted === null) setKnown(gauges.lastHeard, labels, timestamp(status.lastHeard));
  gauges.gaps.set(labels, gapCount);
  gauges.queueDepth.set(labels, status.waiting);
}

function setReplica(gauges: Gauges, database: string, status: ReplicaStatus): void {
  const replica = status.name;
  const labels = { database, replica };
  setKnown(gauges.replicaTxid, labels, txIdNumber(status.txid));
  setKnown(gauges.replicaLag, labels, seconds(status.lagMs));
  gauges.replicaDepth.set(labels, status.waiting);
  gauges.replicaQueueBytes.set(labels, status.waitingBytes);
  gauges.deadLetters.set(labels, status.deadLetters);
  gauges.quarantined.set(labels, status.quarantined);
  gauges.needsRepair.set(labels, status.needsRepair ? 1 : 0);
  gauges.up.set({ replica }, status.breaker === "open" ? 0 : 1);
  gauges.failures.set({ replica }, status.failures);
}

/** What is not known has no sample: a 0 would be a lie. */
function setKnown<Label extends string>(
  one: Gauge<Label>,
  labels: Partial<Record<Label, string>>,
  value: number | null | undefined,
): void {
  if (value !== null && value !== undefined && Number.isFinite(value)) one.set(labels, value);
}

/** As a float, which is exact up to 2^53. */
function txIdNumber(hex: string | null): number | null {
  return hex === null ? null : Number(BigInt(`0x${hex}`));
}

function seconds(ms: number | null | undefined): number | null {
  return ms === null || ms === undefined ? null : ms / 1000;
}

function timestamp(time: string | null): number | null {
  return time === null ? null : Date.parse(time) / 1000;
}
