// Why a database is no longer backed up: said by its agent in a last envelope, when it was let go on purpose. An agent that ends, is killed or
// lost says nothing of the kind, and its silence is an alarm.

/** `unregistered`: by name, at the agent; `unconfigured`: its configuration names it no longer. Newer agents may have others. */
export type Farewell = "unregistered" | "unconfigured" | (string & {});

/** What one looks like. */
export const farewellPattern = /^[a-z][a-z-]{0,31}$/;

const wordsOfReason: Readonly<Record<string, string>> = {
  unregistered: "pageferry unregister",
  unconfigured: "a reload of its configuration",
};

/** Who let it go, to be put after "by". */
export function farewellWords(farewell: Farewell, host: string): string {
  const who = Object.hasOwn(wordsOfReason, farewell) ? wordsOfReason[farewell] : `its agent (${farewell})`;
  return `${who} on ${host}`;
}
