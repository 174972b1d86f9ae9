// A status of which nothing is known, for tests to fill in what they are about.

import type { DatabaseStatus } from "../src/status.ts";
import type { ReplicaStatus } from "../src/status-replica.ts";

export const unknownReplica: ReplicaStatus = {
  ...{ name: "a", txid: null, time: null, lagMs: null, lagTransactions: null, gaps: [], gapCount: 0 },
  ...{ waiting: 0, waitingBytes: 0, deadLetters: 0, lanes: [], quarantined: 0 },
  ...{
    breaker: "closed",
    failures: 0,
    error: null,
    needsRepair: false,
    verified: null,
    snapshot: null,
    files: null,
  },
  ...{ compaction: null, prune: null, repair: null, storage: null, month: null, restore: null },
};

export const unknownDatabase: DatabaseStatus = {
  ...{ name: "app", generation: null, host: null, epoch: null, txid: null, time: null, queued: null },
  ...{
    lastHeard: null,
    parted: null,
    lagMs: null,
    lagTransactions: null,
    gaps: [],
    gapCount: null,
    waiting: 0,
  },
  ...{ generations: [], generationCount: 0, replicas: [], alarms: [] },
};
