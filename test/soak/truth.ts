// What databases really were: their files, copied while nobody writes them, and what bbolt says of the copies. It is the only truth about an
// application that tells nobody its commits.
import { copyFile, rm } from "node:fs/promises";
import type { Checker } from "../go-apps.ts";
import type { TemporaryDirectory } from "../temporary.ts";
import type { SoakDatabase } from "./stage.ts";

export interface Truth {
  /** Looks at a file that stands still: its application is frozen or dead. */
  take(database: SoakDatabase): Promise<void>;
  /** SHA-256 over the live pages of a transaction that was looked at. */
  of(database: SoakDatabase, txId: number): string | undefined;
  /** The transactions that were looked at, of one database. */
  known(database: SoakDatabase): ReadonlySet<number>;
  /** What cannot be: then the judge is wrong, or bolt is. */
  readonly problems: readonly string[];
}

/** Nothing is known yet. */
export function createTruth(checker: Checker, directory: TemporaryDirectory): Truth {
  const states = new Map<string, Map<number, string>>();
  const problems: string[] = [];
  let copies = 0;
  const statesOf = (name: string) => {
    const known = states.get(name) ?? new Map<number, string>();
    states.set(name, known);
    return known;
  };
  return {
    problems,
    of: ({ name }, txId) => statesOf(name).get(txId),
    known: ({ name }) => new Set(statesOf(name).keys()),
    async take({ name, path }) {
      copies += 1;
      const copy = directory.file(`still-${copies}.db`);
      await copyFile(path, copy);
      const { ok, errors, txid, liveSha256 = "" } = await checker.check(copy);
      await rm(copy);
      const before = statesOf(name).get(txid) ?? liveSha256;
      if (!ok) problems.push(`${name}: the file itself is not sound at ${txid}: ${errors.join("; ")}`);
      else if (before !== liveSha256) problems.push(`${name}: ${txid} was two states`);
      else statesOf(name).set(txid, liveSha256);
    },
  };
}
