// What the doctor finds: each finding says what is, how bad it is, and what to do about it.

import { counted, isPageferryError } from "@pageferry/format";

/** `fail`: backups or restores do not work so. `warn`: they do, and worse than they could, or not for long. `note`: to be known. */
export type FindingLevel = "ok" | "note" | "warn" | "fail";

/** What was looked at. */
export type FindingArea =
  | "configuration"
  | "source"
  | "application"
  | "rights"
  | "clock"
  | "disk"
  | "queue"
  | "restore"
  | "replica"
  | "alarms";

export interface Finding {
  readonly level: FindingLevel;
  readonly area: FindingArea;
  /** Which database, replica, directory or host; none: the whole. */
  readonly subject?: string;
  readonly says: string;
  /** What to do; only of `ok` there is none. */
  readonly todo?: string;
}

/** Something that works. */
export function ok(area: FindingArea, subject: string | undefined, says: string): Finding {
  return { level: "ok", area, ...(subject === undefined ? {} : { subject }), says };
}

/** What an error comes to: its words, and its hint. What nobody foresaw is thrown again. */
export function failed(area: FindingArea, subject: string, error: unknown): Finding {
  if (!isPageferryError(error)) throw error;
  return { level: "fail", area, subject, says: error.message.replace(/\s*\n\s*/g, " "), todo: error.hint };
}

const order: readonly FindingLevel[] = ["fail", "warn", "note", "ok"];

/** One line each, the worst first, and what to do under it. */
export function formatFindings(findings: readonly Finding[]): string {
  const sorted = findings.toSorted((a, b) => order.indexOf(a.level) - order.indexOf(b.level));
  const width = Math.max(...sorted.map(({ area }) => area.length));
  const lines = sorted.flatMap(({ level, area, subject, says, todo }) => {
    const head = `${level.padEnd(4)}  ${area.padEnd(width)}  ${subject === undefined ? "" : `${subject}: `}${says}`;
    return todo === undefined ? [head] : [head, `${" ".repeat(width + 8)}-> ${todo}`];
  });
  return `${lines.join("\n")}\n${summary(findings)}\n`;
}

function summary(findings: readonly Finding[]): string {
  const count = (level: FindingLevel) => findings.filter((one) => one.level === level).length;
  const [fails, warns] = [count("fail"), count("warn")];
  const warnings = counted(warns, "warning");
  if (fails > 0)
    return `${fails} of ${counted(findings.length, "finding")} ${fails === 1 ? "fails" : "fail"}, ${warnings}.`;
  return warns > 0 ? `Nothing fails, ${warnings}.` : "Nothing fails.";
}
