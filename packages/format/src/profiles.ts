// What a restored file means to the application that wrote it: known applications as data, and how they are recognised. See
// docs/operations.md#applications.

import { PageferryError } from "./errors.ts";

/** Known applications; `own`: a service of one's own, or one that nobody told us of. */
export const profileNames = [
  "own",
  "portainer",
  "influxdb",
  "etcd",
  "vault",
  "raft",
  "lnd",
  "containerd",
  "buildkit",
] as const;

export type ProfileName = (typeof profileNames)[number];

/** What to know before a file of an application is put back. */
export interface Profile {
  readonly name: ProfileName;
  /** As people call it. */
  readonly title: string;
  /** What the restored file is. */
  readonly means: string;
  /** The application's own way back, in order. */
  readonly steps: readonly string[];
  /** What must be typed first, because an old file in place does harm; and which harm. */
  readonly acknowledgement?: { readonly word: string; readonly harm: string };
}

const profiles: Readonly<Record<ProfileName, Omit<Profile, "name">>> = {
  own: {
    title: "a service on bbolt or witchbolt",
    means: "The restored file is the state of the application at that point, whole and checked.",
    steps: [
      "Stop the application.",
      "Move the old file aside, and put the new one in its place with the same owner and mode.",
      "Start the application. Its backup goes on as a new generation; the old history stays.",
    ],
  },
  portainer: {
    title: "Portainer",
    means: "The restored file is Portainer's database. It needs its companions of about the same time.",
    steps: [
      "Stop Portainer.",
      "Put back the certs, tls, compose and chisel folders and portainer.key from your own copies: they are not in this file.",
      "An encrypted database also needs its secret. Then put the file in place and start Portainer.",
    ],
  },
  influxdb: {
    title: "InfluxDB 2",
    means: "The restored file is metadata only: no measurement is in it.",
    steps: [
      "Stop InfluxDB.",
      "Put influxd.sqlite and the engine's files of about the same time beside it: the three must match.",
      "Start InfluxDB and look at its buckets and tokens.",
    ],
  },
  etcd: {
    title: "etcd",
    means:
      "The restored file is a snapshot for a new cluster. It lacks writes that are only in etcd's own write-ahead log.",
    steps: [
      "Never put it into a member's directory.",
      "Build a new cluster, every member from this one file: etcdutl snapshot restore --skip-hash-check FILE …",
      "For Kubernetes add --bump-revision 1000000000 --mark-compacted, and restart what watches.",
    ],
  },
  vault: {
    title: "Vault",
    means:
      "The restored file is one of two that must be of the same instant, and these are not. It is for looking only.",
    steps: ["Restore Vault from a snapshot of its own: vault operator raft snapshot restore."],
    acknowledgement: {
      word: "for looking only",
      harm: "vault.db and raft.db hold state and votes: put back apart from one another they make a cluster that contradicts itself.",
    },
  },
  raft: {
    title: "Consul or another raft log",
    means: "The restored file holds log and votes of one member, not the data of the cluster.",
    steps: ["Restore the cluster from a snapshot of its own, such as consul snapshot restore."],
    acknowledgement: {
      word: "votes twice",
      harm: "A raft member that goes back in time can vote twice, and two leaders may write.",
    },
  },
  lnd: {
    title: "LND",
    means: "The restored file is an old state of channels. LND must never run with it.",
    steps: [
      "Recover funds with the seed and the newest channel.backup: lncli restorechanbackup.",
      "Use this file to look at, or for a move where the old node never starts again.",
    ],
    acknowledgement: {
      word: "loss of funds",
      harm: "A node that runs with an old channel.db publishes revoked states, and its peers may take all funds of the channel.",
    },
  },
  containerd: {
    title: "containerd",
    means: "The restored file names fewer images and snapshots than are on the disk.",
    steps: ["Do not restore it: let containerd begin anew and pull the images again."],
    acknowledgement: {
      word: "deletes images",
      harm: "containerd's garbage collection deletes what an old meta.db does not name.",
    },
  },
  buildkit: {
    title: "BuildKit",
    means: "The restored file is a cache. Losing it costs time, not data.",
    steps: ["Stop BuildKit, remove the file, and start it: it fills the cache again."],
  },
};

/** Whether what the profile asks for was typed. Case and spaces at the ends do not matter; the words do. */
export function isAcknowledged({ acknowledgement }: Profile, typed: string | undefined): boolean {
  return acknowledgement === undefined || typed?.trim().toLowerCase() === acknowledgement.word;
}

/** A restore that puts a file in its application's place. */
export interface RestoreInPlace {
  /** What was typed. */
  readonly typed: string | undefined;
  /** Where that is typed, for the hint: `--acknowledge`, or a key of the configuration. */
  readonly option: string;
  /** Nobody looks: at a start. */
  readonly isAutomatic: boolean;
}

/** Throws `harmful` where an old file does harm in its place, unless the words for it were typed. LND is never restored by itself. */
export function checkRestoreInPlace(profile: Profile, { typed, option, isAutomatic }: RestoreInPlace): void {
  const { name, title, acknowledgement, steps } = profile;
  if (acknowledgement === undefined) return;
  const { word, harm } = acknowledgement;
  if (isAutomatic && name === "lnd") {
    throw new PageferryError("harmful", `${title} is never restored by itself. ${harm}`, {
      hint: steps.join(" "),
    });
  }
  if (isAcknowledged(profile, typed)) return;
  throw new PageferryError("harmful", `this is a database of ${title}. ${harm}`, {
    hint: `${steps[0]} Whoever knows better types ${option} ${JSON.stringify(word)}.`,
  });
}

/** The top buckets that tell an application: all of them must be there. */
const byBuckets: readonly (readonly [ProfileName, readonly string[]])[] = [
  ["lnd", ["open-chan-bucket"]],
  ["raft", ["logs", "conf"]],
  ["etcd", ["key", "members"]],
  ["vault", ["data", "config"]],
  ["containerd", ["v1"]],
];

/** Paths that applications write to, and the names that such databases get. The first that fits counts. */
const byPath: readonly (readonly [ProfileName, RegExp])[] = [
  ["etcd", /(^|\/)member\/snap\/db$|^etcd\b/],
  ["portainer", /(^|\/)portainer(\.db)?$/],
  ["influxdb", /(^|\/)influxd(\.bolt)?$/],
  ["raft", /(^|\/)raft(\.db)?$/],
  ["vault", /(^|\/)vault(\.db)?$/],
  ["lnd", /(^|\/)channel(\.db)?$|(^|\/)\.?lnd\/.*\.db$|^lnd\b/],
  ["containerd", /(^|\/)io\.containerd\..*\/meta\.db$|^containerd\b/],
  ["buildkit", /(^|\/)buildkit\/.*\.db$|^buildkit\b/],
];

/** What is known of a database. */
export interface ProfileHints {
  /** The configuration's word, which wins. */
  readonly configured?: ProfileName | undefined;
  readonly name: string;
  readonly path?: string | undefined;
  /** Its top buckets, where somebody looked. */
  readonly buckets?: readonly string[] | undefined;
}

/** What a restored file of this database means. Unknown applications are as one's own. */
export function profileOf({ configured, name, path, buckets }: ProfileHints): Profile {
  const has = new Set(buckets);
  const found =
    configured ??
    byBuckets.find(([, wanted]) => wanted.every((bucket) => has.has(bucket)))?.[0] ??
    byPath.find(([, pattern]) => pattern.test(name) || (path !== undefined && pattern.test(path)))?.[0] ??
    "own";
  return { name: found, ...profiles[found] };
}
