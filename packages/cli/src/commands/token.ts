// `pageferry token create|list|revoke`: tokens of the host over DIR, whether it runs or not.

import { PageferryError, parseDuration } from "@pageferry/format";
import type { TokenRecord } from "@pageferry/functions";
import { type CommandSpec, jsonOption } from "../command.ts";
import { defaultDataDir } from "../data-dir.ts";
import type { Io } from "../io.ts";
import { formatTable } from "../table.ts";

interface TokenFlags {
  readonly scopes: string;
  readonly database: readonly string[];
  readonly expires: number;
  readonly note: string;
  readonly data: string;
  readonly record: boolean;
  readonly json: boolean;
}

/** A date has an end. */
const expiryMsMax = 100 * 365 * 86_400_000;

/** The command. */
export const tokenCommand: CommandSpec<TokenFlags> = {
  name: "token",
  summary: "make, list and revoke tokens of the host that keeps its data in DIR",
  arguments: [
    { syntax: "<action>", description: "create, list or revoke" },
    { syntax: "[id]", description: "revoke: the token's id" },
  ],
  options: [
    {
      flags: "--scopes <list>",
      description:
        "create: agent (ingest,needs; the default), admin (all), or some of read,restore,inspect,operate",
    },
    { flags: "--database <name...>", description: "create: for these databases only (default: all)" },
    {
      flags: "--expires <duration>",
      description: "create: refuse it after that, such as 90d",
      parse: parseExpiry,
    },
    { flags: "--note <text>", description: "create: what it is for" },
    {
      flags: "--record",
      description: "create: keep nothing, print the token and the record that a deployment on AWS is to know",
    },
    { flags: "--data <dir>", description: `the host's data directory (default ${defaultDataDir})` },
    jsonOption,
  ],
  examples: `
Examples:
  pageferry token create --database app                            for the agent of app, which can add and nothing else
  pageferry token create --scopes read,restore --expires 30d --note "restore drill"
  pageferry token list
  pageferry token revoke 3f9c2a7be014
  pageferry token create --record --scopes restore                 {"token":…,"record":…}: the record goes into PAGEFERRY_TOKENS

The token is printed once, alone on standard output; what is kept is its hash. A host that runs takes and refuses it within a second.
To replace one: create another, give it to its user, then revoke the old one.`,
  async run([action = "", id], flags, io) {
    const given = [flags.scopes, flags.database, flags.expires, flags.note, flags.record];
    const made = given.some((flag) => flag !== undefined);
    if (made && action !== "create")
      throw new PageferryError("bad-request", `token ${action}: it takes --data and --json only`);
    if ((id !== undefined) !== (action === "revoke") && isKnown(action)) {
      const message = id === undefined ? "the id of a token is expected" : "no id is expected";
      throw new PageferryError("bad-request", `token ${action}: ${message}`);
    }
    if (action === "create") await create(flags, io);
    else if (action === "list") await list(flags, io);
    else if (action === "revoke") await revoke(id ?? "", flags, io);
    else throw new PageferryError("bad-request", "ACTION is none of create, list, revoke");
  },
};

function isKnown(action: string): boolean {
  return ["create", "list", "revoke"].includes(action);
}

async function create(flags: Partial<TokenFlags>, io: Io): Promise<void> {
  const { scopes = "agent", database, expires, note, data = defaultDataDir, record: isRecord, json } = flags;
  if (isRecord === true && flags.data !== undefined)
    throw new PageferryError(
      "bad-request",
      "token create: --record keeps nothing in DIR, so leave --data out",
    );
  const { createToken, makeToken, parseScopes } = await import("@pageferry/functions");
  const nowMs = io.now();
  const expiresAtMs = expires === undefined ? undefined : Math.round(nowMs + expires);
  const wanted = { scopes: parseScopes(scopes), databases: database ?? ("*" as const), expiresAtMs, note };
  const { token, record } =
    isRecord === true ? makeToken(wanted, nowMs) : await createToken(data, wanted, nowMs);
  if (isRecord === true) io.out(`${JSON.stringify({ token, record })}\n`);
  else io.out(json === true ? `${JSON.stringify({ token, ...shown(record) })}\n` : `${token}\n`);
  const until = expiresAtMs === undefined ? "" : ` until ${timeOf(expiresAtMs)}`;
  io.err(
    `token ${record.id}: ${record.scopes.join(", ")} on ${databasesOf(record)}${until}; it is not shown again\n`,
  );
}

async function list({ data = defaultDataDir, json = false }: Partial<TokenFlags>, io: Io): Promise<void> {
  const { listTokens } = await import("@pageferry/functions");
  const { records, troubles } = await listTokens(data);
  for (const trouble of troubles) io.err(`warning: ${trouble}\n`);
  if (json) return io.out(`${JSON.stringify(records.map(shown))}\n`);
  const header = ["ID", "SCOPES", "DATABASES", "CREATED", "EXPIRES", "NOTE"];
  const rows = records.map((record) => [
    ...[record.id, record.scopes.join(","), databasesOf(record), timeOf(record.createdAtMs)],
    record.expiresAtMs === undefined ? "never" : expiryOf(record.expiresAtMs, io.now()),
    oneLine(record.note ?? ""),
  ]);
  return io.out(rows.length === 0 ? "no token was made\n" : formatTable(header, rows));
}

async function revoke(id: string, flags: Partial<TokenFlags>, io: Io): Promise<void> {
  const { data = defaultDataDir, json = false } = flags;
  const { revokeToken } = await import("@pageferry/functions");
  const revoked = await revokeToken(data, id);
  io.out(json ? `${JSON.stringify({ revoked })}\n` : `revoked ${revoked}\n`);
}

/** A record as scripts see it: without the hash. */
function shown({ id, scopes, databases, createdAtMs, expiresAtMs, note }: TokenRecord): object {
  const expires = expiresAtMs === undefined ? null : timeOf(expiresAtMs);
  return { id, scopes, databases, created: timeOf(createdAtMs), expires, note: note ?? null };
}

function databasesOf({ databases }: TokenRecord): string {
  return databases === "*" ? "all databases" : databases.join(",");
}

function expiryOf(expiresAtMs: number, nowMs: number): string {
  return expiresAtMs <= nowMs ? "expired" : timeOf(expiresAtMs);
}

/** Without what a terminal could take for a command. */
function oneLine(note: string): string {
  return note.replace(/[\p{Cc}\p{Cf}]+/gu, " ");
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

function parseExpiry(text: string): number {
  const ms = parseDuration(text);
  if (ms > 0 && ms <= expiryMsMax) return ms;
  throw new PageferryError(
    "bad-request",
    "--expires: a duration of at most 100 years, such as 90d, is expected",
  );
}
