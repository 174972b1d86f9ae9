// Is everything safe? A pure decision over the status of databases, in one sentence, with what to do. In doubt it is not: what is not
// known is said so.

import { ailmentOf } from "../healthy.ts";
import type { PartingStatus } from "../parting.ts";
import type { AlarmStatus, DatabaseStatus } from "../status.ts";
import { count, exactTime, spanWord } from "./words.ts";

/**
 * From worst to best. `unsafe`: commits may be lost, or a restore may fail; `look`: it can be restored, and somebody should look; `ended`: it is
 * no longer backed up, on purpose, and what it has is sound.
 */
export const levels = ["unsafe", "look", "unknown", "safe", "ended"] as const;

export type Level = (typeof levels)[number];

/** How a database stands, in words. */
export interface Standing {
  readonly level: Level;
  readonly what: string;
  readonly todo?: string | undefined;
}

export interface SafetyOptions {
  readonly nowMs: number;
  /** How far behind a replica may be. */
  readonly lagMsMax: number;
}

/** Alarms after which commits are not captured or not stored, or what is stored does not hold. */
const graveCodes: ReadonlySet<string> = new Set([
  ...["corrupt", "disk-full", "expired", "fork", "gap", "not-bolt", "not-found", "queue", "silent"],
  ...["source-too-busy", "source-unlinked", "unauthorized", "unreadable", "verify"],
]);

/** The only alarms of one replica that are told elsewhere in the same row, by its lag or its state. */
const ofReplica: ReadonlySet<string> = new Set(["lag", "unavailable", "behind"]);

/** How one database stands. */
export function standingOf(status: DatabaseStatus, options: SafetyOptions): Standing {
  const { replicas, lastHeard, parted } = status;
  const own = status.alarms.filter(({ database }) => database !== undefined);
  const grave = own.find(({ code }) => graveCodes.has(code));
  if (grave !== undefined) return told("unsafe", grave);
  if (lastHeard === null) {
    return {
      level: "unsafe",
      what: "nothing has been heard of its agent",
      todo: "Start the agent: `pageferry up` on this machine, or `pageferry replicate` where the database is.",
    };
  }
  const ailment = ailmentOf({ ...status, alarms: [] }, options);
  const behind = replicas.filter(({ lagMs }) => lagMs !== null && lagMs > options.lagMsMax);
  const [first] = behind;
  if (first !== undefined && behind.length === replicas.length) {
    return {
      level: "unsafe",
      what: `no replica has its commits of the last ${spanWord(Math.min(...behind.map(({ lagMs }) => lagMs ?? 0)))}`,
      todo: "They are on the application's machine alone until a replica answers. See the alarms.",
    };
  }
  if (replicas.length === 0 || ailment === "its agent is not heard of") {
    return {
      level: "unsafe",
      what: replicas.length === 0 ? "it has no replica" : "its agent is not heard of any more",
      todo:
        replicas.length === 0
          ? "Configure one: docs/operations.md#configuration."
          : "See whether the agent runs and reaches this host.",
    };
  }
  const look = lookAt(status, own, first);
  if (look !== undefined) return look;
  const rest = unknownOr(status);
  return parted !== null && rest.level === "safe" ? { level: "ended", what: partedWords(parted) } : rest;
}

/** That it is no longer backed up, for a line. */
function partedWords({ since, by }: PartingStatus): string {
  return `it is no longer backed up, since ${exactTime(Date.parse(since))}, by ${by}; its backups stay`;
}

function lookAt(
  { replicas }: DatabaseStatus,
  own: readonly AlarmStatus[],
  behind: DatabaseStatus["replicas"][number] | undefined,
): Standing | undefined {
  const bad = replicas.find(({ verified }) => verified !== null && verified.verdict !== "FOUND");
  if (bad !== undefined) {
    const verdict = bad.verified?.verdict ?? "";
    const level = verdict === "LATE" ? "look" : "unsafe";
    return {
      level,
      what: `the last restore that was tried from ${bad.name} found it ${verdict}`,
      todo: "Run `pageferry verify` to see it again, and `pageferry repair --verify` to heal it.",
    };
  }
  if (behind !== undefined) {
    return {
      level: "look",
      what: `${behind.name} lags ${spanWord(behind.lagMs ?? 0)}; another replica has everything`,
      todo: "It catches up by itself when it answers. See the alarms.",
    };
  }
  const [alarm] = own.filter(({ code }) => !ofReplica.has(code));
  if (alarm !== undefined) return told("look", alarm);
  const dead = replicas.find(({ deadLetters }) => deadLetters > 0);
  if (dead !== undefined) {
    return {
      level: "look",
      what: `${count(dead.deadLetters, "message")} of ${dead.name} set aside`,
      todo: "Mend the cause, then `pageferry replay`.",
    };
  }
  const repair = replicas.find(({ needsRepair }) => needsRepair);
  if (repair === undefined) return undefined;
  return {
    level: "look",
    what: `${repair.name} lacks what another replica has`,
    todo: "It is repaired by itself when it answers; `pageferry repair` does it now.",
  };
}

function unknownOr({ replicas }: DatabaseStatus): Standing {
  const unknown = replicas.find(({ lagMs }) => lagMs === null);
  if (unknown !== undefined) return { level: "unknown", what: `${unknown.name} is still being looked at` };
  const below = lagBound(Math.max(0, ...replicas.map((replica) => replica.lagMs ?? 0)));
  const which = replicas.length === 1 ? "its replica lags" : `all ${replicas.length} replicas lag`;
  return { level: "safe", what: `${which} less than ${below}` };
}

/** What a lag is said to be below: words that do not change with every commit, or nobody could listen to them. */
const lagBoundsMs = [5000, 15_000, 60_000, 300_000, 3_600_000];

function lagBound(lagMs: number): string {
  return spanWord(lagBoundsMs.find((boundMs) => lagMs < boundMs) ?? lagMs)
    .replace("60 s", "1 min")
    .replace(".0", "");
}

function told(level: Level, { message, hint }: AlarmStatus): Standing {
  return { level, what: message, todo: hint };
}

/** A database with how it stands. */
export interface Judged {
  readonly status: DatabaseStatus;
  readonly standing: Standing;
}

/** All of them, those that need somebody first, by name among equals. */
export function judgeAll(statuses: readonly DatabaseStatus[], options: SafetyOptions): readonly Judged[] {
  return statuses
    .map((status) => ({ status, standing: standingOf(status, options) }))
    .sort(
      (a, b) =>
        levels.indexOf(a.standing.level) - levels.indexOf(b.standing.level) ||
        a.status.name.localeCompare(b.status.name, "en"),
    );
}

/** The sentence at the top. */
export interface Verdict {
  readonly level: Level;
  readonly sentence: string;
  /** What is behind it, for the first that needs somebody. */
  readonly because?: string | undefined;
  readonly todo?: string | undefined;
}

/** Whether everything is safe. `hostAlarms`: those of no database. */
export function verdictOf(
  judged: readonly Judged[],
  hostAlarms: readonly AlarmStatus[],
  caution?: Caution | undefined,
): Verdict {
  const verdict = verdictOfAll(judged, hostAlarms);
  if (caution === undefined || verdict.level !== "safe") return verdict;
  return { level: "look", ...caution };
}

/** Something about the whole that no alarm tells, because it is as somebody set it up: it only takes the last word from "everything is safe". */
export interface Caution {
  readonly sentence: string;
  readonly because: string;
  readonly todo: string;
}

function verdictOfAll(listed: readonly Judged[], hostAlarms: readonly AlarmStatus[]): Verdict {
  const judged = listed.filter(({ standing }) => standing.level !== "ended");
  const all = judged.length;
  const [first] = judged;
  if (first === undefined || first.standing.level === "ended")
    return withHost(listed.length === 0 ? nothing : allEnded(listed), hostAlarms);
  const { level, what, todo } = first.standing;
  const same = judged.filter(({ standing }) => standing.level === level).length;
  if (level === "safe") {
    const sentence =
      all === 1 ? `Everything is safe: ${what}.` : `Everything is safe: all ${count(all, "database")}.`;
    return withHost({ level, sentence, because: all === 1 ? undefined : lagSentence(judged) }, hostAlarms);
  }
  const because = `${first.status.name}: ${what}`;
  return withHost({ level, sentence: sentences[level](same, all), because, todo }, hostAlarms);
}

const nothing: Verdict = {
  level: "unknown",
  sentence: "No database is backed up here yet.",
  todo: "Begin with `pageferry up path/to/app.db`, or give an agent elsewhere a token: `pageferry token create --scopes agent`.",
};

function allEnded([first]: readonly Judged[]): Verdict {
  return {
    level: "unknown",
    sentence: "No database is backed up here any more.",
    because: first === undefined ? undefined : `${first.status.name}: ${first.standing.what}`,
    todo: "Nothing, if that is meant. What they have can be restored; an agent that backs them up again goes on where it was.",
  };
}

const sentences: Readonly<Record<Exclude<Level, "safe" | "ended">, (some: number, all: number) => string>> = {
  unsafe: (some, all) =>
    all === 1 ? "This database is not safe." : `${some} of ${count(all, "database")} ${are(some)} not safe.`,
  look: (some, all) =>
    `Everything can be restored; ${all === 1 ? "somebody should have a look" : `${some} of ${count(all, "database")} ${some === 1 ? "needs" : "need"} a look`}.`,
  unknown: (some, all) =>
    all === 1
      ? "The replica is still being looked at."
      : `${some} of ${count(all, "database")} ${are(some)} still being looked at.`,
};

/** What ails the host as a whole outweighs that each database is well. */
function withHost(verdict: Verdict, [alarm]: readonly AlarmStatus[]): Verdict {
  if (alarm === undefined) return verdict;
  const level = graveCodes.has(alarm.code) ? "unsafe" : "look";
  if (levels.indexOf(verdict.level) <= levels.indexOf(level) && verdict.because !== undefined) return verdict;
  const sentence =
    level === "unsafe" ? "This host is not well." : "Everything can be restored; the host needs a look.";
  const where = alarm.replica === undefined ? "" : `${alarm.replica}: `;
  return { level, sentence, because: `${where}${alarm.message}`, todo: alarm.hint };
}

function are(number: number): string {
  return number === 1 ? "is" : "are";
}

function lagSentence(judged: readonly Judged[]): string {
  return `No replica lags by ${lagBound(Math.max(0, ...judged.map(({ status }) => status.lagMs ?? 0)))}.`;
}
