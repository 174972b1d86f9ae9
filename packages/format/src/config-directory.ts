// An entry of `databases` that names a directory instead of a file: whatever bolt files are found there.

import { z } from "zod";
import { flag, text } from "./config-replica.ts";
import { type ProfileName, profileNames } from "./profiles.ts";

/** A directory whose bolt files are backed up. */
export interface DirectoryConfig {
  readonly dir: string;
  /** A glob on the file's own name, such as `*.db`. */
  readonly pattern: string;
  /** Whether the directories below are looked into, too. */
  readonly recursive: boolean;
  /** Whether files that come later are backed up without a reload. */
  readonly watch: boolean;
  /** What the names of its databases begin with, before a dot. */
  readonly name?: string;
  /** The application that they are of. */
  readonly profile?: ProfileName;
}

/** A glob longer than a file's name can be is not one. */
const patternCharsMax = 255;

const pattern = text.refine((value) => !value.includes("/") && value.length <= patternCharsMax, {
  error: "a pattern of the file's own name is expected, such as *.db; `recursive` looks into directories",
});

/** What every name of a directory begins with leaves room for the rest of it. */
const prefix = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/, {
  error: "a beginning of names is expected: letters, digits, dots, dashes and underscores, 32 at most",
});

function notBesideDir(instead: string) {
  return z.never({ error: `it is for an entry with path; ${instead}` }).optional();
}

/** The keys of such an entry. */
export const directoryShape = {
  ...{ dir: text, pattern: pattern.default("*.db"), recursive: flag.default(false) },
  ...{ watch: flag.default(false), name: prefix.optional(), profile: z.enum(profileNames).optional() },
  path: notBesideDir("name a file or a directory, not both"),
  heartbeat: notBesideDir("alarms.heartbeat, with {database} in it, is for all of them"),
  files: notBesideDir("which files belong to which database cannot be told here"),
  shadowDirectory: notBesideDir("each application writes its own"),
};

/** Takes an entry with `dir` for a directory, and any other for a database; mistakes are told of the one that it is. */
export function eitherEntry<Database extends z.ZodType, Directory extends z.ZodType>(
  database: Database,
  directory: Directory,
): z.ZodType<z.output<Database> | z.output<Directory>> {
  return z.unknown().transform((value, context) => {
    const isDirectory = typeof value === "object" && value !== null && Object.hasOwn(value, "dir");
    const result = (isDirectory ? directory : database).safeParse(value);
    if (result.success) return result.data as z.output<Database> | z.output<Directory>;
    for (const issue of result.error.issues) context.addIssue({ ...issue, path: [...issue.path] });
    return z.NEVER;
  });
}
