// The directories that agent and host write to: whether they may, and whether there is room for what they will hold.

import { constants } from "node:fs";
import { access, statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { basesAtATime } from "@pageferry/agent";
import type { Config } from "@pageferry/format";
import { replicaDir } from "../data-dir.ts";
import { isOnSameDisk } from "../same-disk.ts";
import { formatBytes } from "../table.ts";
import { type Finding, ok } from "./finding.ts";

/** What is looked at. */
export interface PlacesOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly shadowDir: string;
  /** Bytes of each database. */
  readonly sizes: readonly number[];
}

/** A directory, and what has to fit into it. */
interface Place {
  readonly what: string;
  readonly path: string;
  /** Without so much it does not work. */
  readonly needed: number;
  /** With so much it does not come to be short. */
  readonly wanted: number;
  readonly why: string;
}

/** A base: an image of the database, and the snapshot that is made of it. */
const imagesOfBase = 2;

/** Snapshots of each database that a replica is to have room for. */
const snapshotsKept = 2;

/** A snapshot that the host builds is restored, checked and encoded in its scratch. */
const imagesOfHost = 3;

/** Looks at all of them. */
export async function lookAtPlaces(options: PlacesOptions): Promise<Finding[]> {
  const found = (await Promise.all(placesOf(options).map(lookAtPlace))).flat();
  const { config, dataDir } = options;
  if (config.queue === undefined && config.databases.length > 0 && (await isOnSameDisk(config, dataDir))) {
    found.push({
      ...{ level: "warn", area: "disk" },
      says: "every replica is on the disk of a database: that survives the application, not the disk",
      todo: "Configure a replica elsewhere: docs/operations.md#configuration.",
    });
  }
  return found;
}

function placesOf({ config, dataDir, shadowDir, sizes }: PlacesOptions): Place[] {
  const largest = Math.max(0, ...sizes);
  const all = sizes.reduce((sum, bytes) => sum + bytes, 0);
  const shadow: Place = {
    ...{ what: "shadow", path: shadowDir, needed: largest },
    wanted: atATime(sizes) * imagesOfBase + config.shadowBytesMax * sizes.length,
    why: `bases of the ${sizes.length > 1 ? "largest databases" : "database"}, their snapshots, and shadowBytesMax of each`,
  };
  const host: Place = {
    ...{ what: "data", path: dataDir, needed: 0, wanted: largest * imagesOfHost },
    why: "snapshots that are built in its scratch take three times the largest database",
  };
  const replicas = config.replicas.flatMap((replica) => (replica.type === "file" ? [replica.path] : []));
  const own = config.replicas.length === 0 ? [replicaDir(dataDir)] : replicas;
  const files = own.map(
    (path): Place => ({
      ...{ what: "replica", path, needed: 0, wanted: all * snapshotsKept },
      why: "two snapshots of each database",
    }),
  );
  return [...(sizes.length > 0 ? [shadow] : []), ...(config.queue === undefined ? [host, ...files] : [])];
}

/** What those take that may lie there together. */
function atATime(sizes: readonly number[]): number {
  const largest = sizes.toSorted((a, b) => b - a).slice(0, basesAtATime);
  return largest.reduce((sum, bytes) => sum + bytes, 0);
}

async function lookAtPlace({ what, path, needed, wanted, why }: Place): Promise<Finding[]> {
  const there = await nearestDirectory(path);
  const subject = `${what} ${path}`;
  try {
    await access(there, constants.W_OK);
  } catch (error) {
    const says = `this user may not write there (${(error as NodeJS.ErrnoException).code})`;
    const todo = `Make ${path} and give it to the user who runs pageferry.`;
    return [{ level: "fail", area: "rights", subject, says, todo }];
  }
  const { bavail, bsize } = await statfs(there);
  const free = bavail * bsize;
  const has = `${formatBytes(free)} free`;
  if (free < needed) {
    return [
      {
        ...{ level: "fail", area: "disk", subject },
        says: `${has}: no room for a base, which takes ${formatBytes(needed)}`,
        todo: "Free space there, or put it elsewhere (shadowDir, dataDir).",
      },
    ];
  }
  if (free >= wanted) return [ok("disk", subject, has)];
  return [
    {
      ...{ level: "warn", area: "disk", subject },
      says: `${has}, and it may come to ${formatBytes(wanted)}: ${why}`,
      todo:
        what === "shadow"
          ? "Free space there, or lower shadowBytesMax."
          : "Free space there, or put it elsewhere.",
    },
  ];
}

/** A directory is made at the first start; until then what counts is where. */
export async function nearestDirectory(path: string): Promise<string> {
  for (let at = resolve(path); ; at = dirname(at)) {
    const isThere = await access(at).then(
      () => true,
      () => false,
    );
    if (isThere || at === dirname(at)) return at;
  }
}
