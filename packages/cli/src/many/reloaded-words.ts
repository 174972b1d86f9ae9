// What a reload came to, in lines for people.

import { printable } from "../terminal-text.ts";
import type { Reloaded } from "./fleet.ts";

/** One line for what came and went, and one for each thing that somebody must know. */
export function reloadedWords(reloaded: Reloaded): string {
  const { registered, unregistered, restarted, failed, untold, waiting } = reloaded;
  const parts = [
    ["registered", registered],
    ["unregistered", unregistered],
    ["restarted", restarted],
  ] as const;
  const said = parts.flatMap(([word, names]) => (names.length === 0 ? [] : [`${word} ${listed(names)}`]));
  return [
    `note: reload: ${said.length === 0 ? "no database came or went" : said.join("; ")}\n`,
    ...failed.map(
      ({ name, message }) => `warning: ${name}: ${printable(message)}; it is tried again each minute\n`,
    ),
    ...(untold.length === 0
      ? []
      : [
          `warning: the host could not be told yet that ${listed(untold)} ${untold.length === 1 ? "is" : "are"} no longer backed up; it is tried again each minute\n`,
        ]),
    ...(waiting.length === 0 ? [] : [`warning: at the next start take effect: ${waiting.join(", ")}\n`]),
  ].join("");
}

const namesShown = 20;

function listed(names: readonly string[]): string {
  const more = names.length - namesShown;
  return `${names.slice(0, namesShown).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
