// What the page of the local host knows of the configuration.

import { type Config, profileOf } from "@pageferry/format";
import { lagMsDefault } from "../maintenance.ts";
import type { PageOptions } from "../page/page-api.ts";

type PageConfig = Partial<Pick<Config, "databases" | "dataLossWindowThresholdMs">>;

/** The page's options. Agents elsewhere do not tell their databases' paths: there the name and the configuration's `profile` count. */
export function localPage(
  { databases = [], dataLossWindowThresholdMs }: PageConfig,
  parts: Pick<PageOptions, "sessions" | "standing" | "now">,
): PageOptions {
  const known = new Map(databases.map((database) => [database.name, database]));
  return {
    ...parts,
    lagMsMax: dataLossWindowThresholdMs || lagMsDefault,
    profileOf(name) {
      const { path, profile } = known.get(name) ?? {};
      return profileOf({ name, path, configured: profile });
    },
  };
}
