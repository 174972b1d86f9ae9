// An alarm as a webhook is told of it: our own JSON, or what Slack and ntfy take. Pure; no secret is in an alarm's words.

import type { WebhookFormat } from "@pageferry/format";
import type { Alarm } from "./alarms.ts";
import { formatTime } from "./replica-state.ts";

/** Something became wrong, or is over. */
export interface AlarmEvent {
  readonly event: "raised" | "cleared";
  readonly alarm: Alarm;
}

export interface Payload {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What is posted; `host` is the name of the machine that tells. */
export function payloadOf({ event, alarm }: AlarmEvent, format: WebhookFormat, host: string): Payload {
  const { sinceMs, ...words } = alarm;
  switch (format) {
    case "json":
      return json({ event, ...words, since: formatTime(sinceMs), host });
    case "slack":
      return json({ text: slackText(event, alarm, host) });
    case "ntfy":
      return ntfy(event, alarm, host);
  }
}

function json(value: object): Payload {
  return { headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

/** `lag: app`, with where. */
function titleOf(event: AlarmEvent["event"], { code, database }: Alarm): string {
  const what = database === undefined ? code : `${code}: ${database}`;
  return event === "raised" ? what : `over: ${what}`;
}

function slackText(event: AlarmEvent["event"], alarm: Alarm, host: string): string {
  const icon = event === "raised" ? ":rotating_light:" : ":white_check_mark:";
  const hint = event === "raised" ? `\n_${escaped(alarm.hint)}_` : "";
  return `${icon} *${escaped(titleOf(event, alarm))}* (${escaped(host)})\n${escaped(alarm.message)}${hint}`;
}

/** Slack's three control characters. */
function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function ntfy(event: AlarmEvent["event"], alarm: Alarm, host: string): Payload {
  const isRaised = event === "raised";
  return {
    headers: {
      "content-type": "text/plain; charset=utf-8",
      // A header holds ASCII; a host's name may be anything.
      title: `${titleOf(event, alarm)} (${host})`.replace(/[^\x20-\x7e]/g, "?"),
      priority: isRaised ? "high" : "default",
      tags: isRaised ? "rotating_light" : "white_check_mark",
    },
    body: isRaised ? `${alarm.message}\n${alarm.hint}` : alarm.message,
  };
}
