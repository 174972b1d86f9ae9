// Where alarms go besides the log: webhooks that are told of each, and heartbeat URLs that fall silent while a database is
// not healthy. Their URLs are secrets: whoever has one can write there.

import { z } from "zod";
import { flag, text } from "./config-replica.ts";

/** How a webhook wants to be told. */
export type WebhookFormat = "json" | "slack" | "ntfy";

export interface WebhookConfig {
  readonly url: string;
  /** Default `json`. */
  readonly format: WebhookFormat;
  /** Only alarms of these codes. Default all. */
  readonly codes?: readonly string[];
}

export interface AlarmsConfig {
  readonly webhooks: readonly WebhookConfig[];
  /** Called every minute for each database that is healthy; `{database}` in it stands for its name. */
  readonly heartbeat?: string;
  /** Whether webhooks and heartbeats may go to private addresses: no, yes, or only to these hosts. */
  readonly allowPrivate: boolean | readonly string[];
}

/** What stands in a heartbeat's URL for the name of the database. */
export const databaseInUrl = "{database}";

const webUrl = z.url({ protocol: /^https?$/, error: "an http:// or https:// URL is expected" });

/** A database's own heartbeat. */
export const heartbeatSchema = webUrl;

export const webhookShape = {
  url: webUrl,
  format: z.enum(["json", "slack", "ntfy"]).default("json"),
  codes: z
    .array(z.string().regex(/^[a-z][a-z-]*$/, { error: "a code of an alarm, such as lag, is expected" }))
    .min(1)
    .optional(),
};

/** All but `webhooks`, which config-schema.ts spells out. */
export const alarmsShape = {
  heartbeat: webUrl
    .refine((url) => url.includes(databaseInUrl), {
      error: `${databaseInUrl} is missing: one URL for all would be called while any of them is healthy`,
    })
    .optional(),
  allowPrivate: z
    .union([flag, z.array(text)], { error: "true, false or a list of hosts is expected" })
    .default(false),
};
