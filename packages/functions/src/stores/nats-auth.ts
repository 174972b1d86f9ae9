// Where the servers are and how one shows who one is: what the configuration's url, creds and nkey mean.

import { readFile } from "node:fs/promises";
import { PageferryError } from "@pageferry/format";

/** One server of the list in `url`. */
export interface NatsServer {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** What a server is shown. A token is a user without a password, as the Go client has it. */
export interface NatsCredentials {
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
  readonly jwt?: string;
  /** The seed that signs the server's challenge. */
  readonly seed?: string;
}

/** A comma parts servers where a server follows it: not within a password that came unescaped. */
const betweenServers = /,(?=[a-z][a-z0-9+.-]*:\/\/|[^@]*$)/i;

const portDefault = 4222;

/** Reads `url`. Errors: `bad-config`, without the URL, which may hold a password. */
export function parseServers(url: string): {
  readonly servers: readonly NatsServer[];
  readonly credentials: NatsCredentials;
} {
  const urls = url
    .split(betweenServers)
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => asUrl(part));
  if (urls.length === 0) throw new PageferryError("bad-config", "replicas: nats: url is empty");
  const servers = urls.map(({ hostname, port, protocol }) => ({
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? portDefault : Number(port),
    isTls: protocol === "tls:",
  }));
  const named = urls.find(({ username }) => username !== "");
  if (named === undefined) return { servers, credentials: {} };
  const [user, pass] = [decodeURIComponent(named.username), decodeURIComponent(named.password)];
  return { servers, credentials: pass === "" ? { token: user } : { user, pass } };
}

function asUrl(part: string): URL {
  const text = part.includes("://") ? part : `nats://${part}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === "" || !["nats:", "tls:"].includes(url.protocol)) {
    throw new PageferryError(
      "bad-config",
      "replicas: nats: url holds something that is neither nats://host:port nor tls://host:port",
    );
  }
  return url;
}

const jwtPattern = /^\s*(eyJ[\w-]+\.[\w-]+\.[\w-]+)\s*$/m;
const seedPattern = /\bS[A-Z][A-Z2-7]{56}\b/;

/** Reads the creds and nkey files anew, so that what was renewed on disk is used from the next connection on. */
export async function readCredentials(options: {
  readonly creds?: string | undefined;
  readonly nkey?: string | undefined;
}): Promise<NatsCredentials> {
  const creds = options.creds === undefined ? undefined : await textOf("creds", options.creds, "-----BEGIN");
  const nkey = options.nkey === undefined ? undefined : await textOf("nkey", options.nkey, "SU");
  const seed = seedPattern.exec(nkey ?? creds ?? "")?.[0];
  const jwt = creds === undefined ? undefined : jwtPattern.exec(creds)?.[1];
  if ((creds !== undefined && jwt === undefined) || ((creds ?? nkey) !== undefined && seed === undefined)) {
    throw new PageferryError(
      "bad-config",
      `replicas: nats: ${creds === undefined ? "nkey holds no seed" : "creds hold no JWT and seed"}`,
      {
        hint: "creds is a file as `nsc` writes it; nkey is a file with a seed that begins with SU, or the seed.",
      },
    );
  }
  return { ...(jwt === undefined ? {} : { jwt }), ...(seed === undefined ? {} : { seed }) };
}

/** A file's text, or the text itself where the value is no path. */
async function textOf(key: string, value: string, begin: string): Promise<string> {
  if (value.trimStart().startsWith(begin) && seedPattern.test(value)) return value;
  const text = await readFile(value, "utf8").catch((error: NodeJS.ErrnoException) => error);
  if (typeof text === "string") return text;
  // Without its cause, whose message repeats the value: it may be a mistyped secret.
  throw new PageferryError(
    "bad-config",
    `replicas: nats: the file that ${key} names cannot be read: ${text.code ?? "unreadable"}`,
  );
}

/** The certificates of the authorities to trust, in one text; undefined for those that Node trusts by itself. */
export async function readRootCAs(paths: readonly string[]): Promise<string | undefined> {
  if (paths.length === 0) return undefined;
  const texts = paths.map(async (path) => {
    try {
      return await readFile(path, "utf8");
    } catch (cause) {
      const errno = (cause as NodeJS.ErrnoException).code ?? "unreadable";
      throw new PageferryError("bad-config", `replicas: nats: rootCAs: ${path} cannot be read: ${errno}`, {
        cause,
      });
    }
  });
  return (await Promise.all(texts)).join("\n");
}
