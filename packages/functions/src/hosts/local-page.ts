// The page of the local host: what it knows of the configuration, and what those who start the host tell it.

import { type Config, profileOf } from "@pageferry/format";
import { lagMsDefault } from "../maintenance.ts";
import type { PageOptions } from "../page/page-api.ts";
import type { Caution } from "../page/safety.ts";
import { everything } from "../scopes.ts";

type PageConfig = Partial<Pick<Config, "databases" | "dataLossWindowThresholdMs">>;

export interface LocalPage {
  readonly page: PageOptions;
  /** For one sign-in at the page within ten minutes, with everything; for those who start the host. */
  makeSignInCode(): string;
  /** What the page says instead of "everything is safe", though nothing fails. */
  setCaution(caution: Caution | undefined): void;
}

/** Agents elsewhere do not tell their databases' paths: there the name and the configuration's `profile` count. */
export function localPage(
  { databases = [], dataLossWindowThresholdMs }: PageConfig,
  parts: Pick<PageOptions, "sessions" | "standing" | "now">,
): LocalPage {
  const known = new Map(databases.map((database) => [database.name, database]));
  let caution: Caution | undefined;
  return {
    page: {
      ...parts,
      caution: () => caution,
      lagMsMax: dataLossWindowThresholdMs || lagMsDefault,
      profileOf(name) {
        const { path, profile } = known.get(name) ?? {};
        return profileOf({ name, path, configured: profile });
      },
    },
    makeSignInCode: () => parts.sessions.makeCode(everything),
    setCaution(told) {
      caution = told;
    },
  };
}
