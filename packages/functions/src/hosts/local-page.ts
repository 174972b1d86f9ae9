// The page of the local host: what it knows of the configuration, and what those who start the host tell it.

import { type Config, profileOf } from "@pageferry/format";
import { lagMsDefault } from "../maintenance.ts";
import type { PageOptions } from "../page/page-api.ts";
import type { Caution } from "../page/safety.ts";
import { formatTime } from "../replica-state.ts";
import { everything } from "../scopes.ts";
import type { Watch } from "./local-watch.ts";

type PageConfig = Partial<Pick<Config, "databases" | "dataLossWindowThresholdMs">>;

/** Of the newest events, before those are left out that a token may not see. */
const eventsShown = 200;

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
  { shown, ...parts }: Pick<PageOptions, "sessions" | "standing" | "now"> & Pick<Watch, "shown">,
): LocalPage {
  const known = new Map(databases.map((database) => [database.name, database]));
  let caution: Caution | undefined;
  return {
    page: {
      ...parts,
      history: (database) =>
        Object.fromEntries(
          parts.standing(database).replicas.map(({ name }) => [name, shown.lagHistory(database, name)]),
        ),
      events: () =>
        shown
          .events()
          .slice(-eventsShown)
          .reverse()
          .map(({ atMs, message, database }) => ({ time: formatTime(atMs), text: message, database })),
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
