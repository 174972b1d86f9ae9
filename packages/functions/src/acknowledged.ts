// Whether somebody may have a file that does harm in its place: who gets it says, in the words of the application's profile, that they know.
// docs/operations.md#applications.

import {
  type DatabaseName,
  isAcknowledged,
  PageferryError,
  type Profile,
  profileOf,
} from "@pageferry/format";

export interface AcknowledgeOptions {
  /** What a database's file means to its application. Default: what its name tells. */
  readonly profileOf?: ((database: DatabaseName) => Profile) | undefined;
}

/** Throws `unacknowledged`, with the harm, the words and the application's own way back, unless the words were given. */
export function requireAcknowledged(
  database: DatabaseName,
  typed: string | undefined,
  options: AcknowledgeOptions,
): void {
  const profile = options.profileOf?.(database) ?? profileOf({ name: database });
  const { acknowledgement, title, steps } = profile;
  if (acknowledgement === undefined || isAcknowledged(profile, typed)) return;
  const { word, harm } = acknowledgement;
  const given = typed === undefined ? "" : " Other words were given.";
  throw new PageferryError(
    "unacknowledged",
    `${database} is taken for a database of ${title}, whose old file does harm in its place. ${harm}${given}`,
    {
      hint: `${steps.join(" ")} To get the file all the same, say that you know what it does: \`acknowledge=${word.replaceAll(" ", "+")}\` in the URL, or \`--acknowledge "${word}"\`.`,
    },
  );
}
