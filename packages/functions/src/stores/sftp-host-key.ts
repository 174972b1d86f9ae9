// Which key a server may show: one that the configuration names, or one that OpenSSH's known_hosts files hold. What is
// in neither is refused, with the fingerprint and with what to write where: nobody is trusted at first sight.

import { createHash, createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { PageferryError } from "@pageferry/format";

/** Where the trust comes from. */
export interface HostKeyOptions {
  readonly host: string;
  readonly port: number;
  /** `SHA256:…` or a public key (`ssh-ed25519 AAAA…`); several are separated by commas. */
  readonly hostKey?: string | undefined;
  /** A known_hosts file. Default, where there is no `hostKey` either: those that `ssh` reads. */
  readonly knownHosts?: string | undefined;
}

/** Tells a server's key from a stranger's. */
export interface HostKeyJudge {
  /** What to offer for host keys, in order of preference; with a lone fingerprint one kind after the other. */
  readonly offers: readonly (readonly string[])[];
  /** `undefined` for a key that is trusted, else the error to refuse it with. */
  judge(key: Uint8Array): PageferryError | undefined;
}

/** What ssh2 can verify, best first, by the type that the key itself names. */
const algorithmsOfType: Readonly<Record<string, readonly string[]>> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
};
const allAlgorithms = Object.values(algorithmsOfType).flat();
const families = ["ed25519", "ecdsa", "rsa"].map((word) =>
  allAlgorithms.filter((name) => name.includes(word)),
);

/** The fingerprint that `ssh-keygen -l` prints. */
export function fingerprintOf(key: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** The type that a public key begins with, such as `ssh-ed25519`. */
function typeOf(key: Uint8Array): string {
  const bytes = Buffer.from(key);
  if (bytes.length < 4) return "unknown";
  const type = bytes.toString("latin1", 4, 4 + Math.min(bytes.readUInt32BE(0), 64));
  return /^[\w.@-]+$/.test(type) ? type : "unknown";
}

/** Reads what the options name. Errors: `bad-config` for a `hostKey` that is none, `unauthorized` for a file that cannot be read. */
export async function hostKeyJudge(options: HostKeyOptions): Promise<HostKeyJudge> {
  return options.hostKey === undefined ? knownHostsJudge(options) : pinnedJudge(options, options.hostKey);
}

function where(options: HostKeyOptions): string {
  return options.port === 22 ? options.host : `[${options.host}]:${options.port}`;
}

function pinnedJudge(options: HostKeyOptions, text: string): HostKeyJudge {
  const pins = text.split(",").map((pin) => parsePin(pin.trim()));
  const types = pins.flatMap(({ type }) => (type === undefined ? [] : [type]));
  return {
    offers: types.length === pins.length ? [preferring(types)] : [allAlgorithms, ...families],
    judge(key) {
      const shown = fingerprintOf(key);
      if (pins.some(({ fingerprint }) => fingerprint === shown)) return undefined;
      const expected = pins.map(({ fingerprint }) => fingerprint).join(", ");
      return changed(options, key, expected, "the replica's hostKey");
    },
  };
}

function parsePin(pin: string): { readonly fingerprint: string; readonly type?: string } {
  // In a URL's query a plus means a space, and fingerprints hold plusses.
  const fingerprint = pin.replaceAll(" ", "+").replace(/=+$/, "");
  if (/^SHA256:[A-Za-z0-9+/]{43}$/.test(fingerprint)) return { fingerprint };
  const [, type, base64] = /^([\w.@-]+)\s+(AAAA[A-Za-z0-9+/=]+)(\s|$)/.exec(pin) ?? [];
  const key = Buffer.from(base64 ?? "", "base64");
  if (type === undefined || typeOf(key) !== type) {
    throw new PageferryError(
      "bad-config",
      "hostKey: neither SHA256:… nor a public key such as ssh-ed25519 AAAA…",
      {
        hint: "On the server: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
      },
    );
  }
  return { fingerprint: fingerprintOf(key), type };
}

/** Every algorithm, those for these key types first: the server then shows a key that is known, where it has several. */
function preferring(types: readonly string[]): readonly string[] {
  const first = types.flatMap((type) => algorithmsOfType[type] ?? []);
  return [...new Set([...first, ...allAlgorithms])];
}

interface KnownHost {
  readonly marker: string | undefined;
  readonly hosts: string;
  readonly key: Buffer;
}

async function knownHostsJudge(options: HostKeyOptions): Promise<HostKeyJudge> {
  const lines = (await readKnownHosts(options.knownHosts)).flatMap(parseLine);
  const host = options.host.toLowerCase();
  const named = lines.filter((line) => isFor(line.hosts, where({ ...options, host })));
  // As ssh does it: a key that the host has on its usual port is good on another one, too.
  const also = options.port === 22 ? [] : lines.filter((line) => isFor(line.hosts, host));
  const isKnown = (line: KnownHost) => line.marker === undefined;
  const trusted = [...named, ...also].filter(isKnown);
  const revoked = [...named, ...also].filter((line) => line.marker === "@revoked");
  return {
    offers: [preferring(trusted.map((line) => typeOf(line.key)))],
    judge(key) {
      const isKey = (line: KnownHost) => line.key.equals(key);
      if (revoked.some(isKey)) {
        return new PageferryError("unauthorized", `${describe(options, key)} is revoked in known_hosts`, {
          hint: "Somebody withdrew this key: give the server a new one, and write its fingerprint into hostKey.",
        });
      }
      if (trusted.some(isKey)) return undefined;
      const expected = named.filter(isKnown).map((line) => fingerprintOf(line.key));
      return expected.length === 0
        ? unknown(options, key)
        : changed(options, key, expected.join(", "), options.knownHosts ?? "known_hosts");
    },
  };
}

async function readKnownHosts(path: string | undefined): Promise<string[]> {
  if (path !== undefined) {
    try {
      return (await readFile(expandHome(path), "utf8")).split("\n");
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code;
      throw new PageferryError("unauthorized", `knownHosts: reading ${path}: ${errno}`, { cause: error });
    }
  }
  const usual = [join(homedir(), ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"];
  const texts = await Promise.all(usual.map((file) => readFile(file, "utf8").catch(() => "")));
  return texts.join("\n").split("\n");
}

/** A path of this machine, where `~/` is the home directory. */
export function expandHome(path: string): string {
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}

function parseLine(line: string): KnownHost[] {
  const match = /^\s*(?:(@\S+)\s+)?([^\s#]\S*)\s+([\w.@-]+)\s+([A-Za-z0-9+/=]+)(?:\s|$)/.exec(line);
  const [, marker, hosts, , base64] = match ?? [];
  if (hosts === undefined || base64 === undefined) return [];
  return [{ marker, hosts, key: Buffer.from(base64, "base64") }];
}

/** Whether the first field of a line speaks of this host: patterns, some of them negated, or one salted hash. */
function isFor(hosts: string, host: string): boolean {
  const [, salt, hash] = /^\|1\|([^|]+)\|([^|]+)$/.exec(hosts) ?? [];
  if (salt !== undefined) {
    return createHmac("sha1", Buffer.from(salt, "base64")).update(host).digest("base64") === hash;
  }
  const patterns = hosts.toLowerCase().split(",");
  const matches = (pattern: string) => wildcard(pattern).test(host);
  if (patterns.some((pattern) => pattern.startsWith("!") && matches(pattern.slice(1)))) return false;
  return patterns.some((pattern) => !pattern.startsWith("!") && matches(pattern));
}

function wildcard(pattern: string): RegExp {
  const plain = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${plain.replaceAll("*", ".*").replaceAll("?", ".")}$`);
}

function describe(options: HostKeyOptions, key: Uint8Array): string {
  return `host key of ${where(options)}: ${typeOf(key)} ${fingerprintOf(key)}`;
}

function unknown(options: HostKeyOptions, key: Uint8Array): PageferryError {
  const shown = fingerprintOf(key);
  return new PageferryError(
    "unauthorized",
    `${describe(options, key)} is not known; if it is the server's, set hostKey: "${shown}" for this replica`,
    {
      hint: `Compare it on the server: ssh-keygen -lf /etc/ssh/ssh_host_${nameOf(key)}_key.pub. Or name a known_hosts file in knownHosts.`,
    },
  );
}

function changed(options: HostKeyOptions, key: Uint8Array, expected: string, source: string): PageferryError {
  return new PageferryError(
    "unauthorized",
    `${describe(options, key)} is not what ${source} expects: ${expected}`,
    {
      hint: `Somebody may stand between. If the server was set up anew, compare (ssh-keygen -lf /etc/ssh/ssh_host_${nameOf(key)}_key.pub), then set hostKey: "${fingerprintOf(key)}".`,
    },
  );
}

/** How OpenSSH calls the file of such a key. */
function nameOf(key: Uint8Array): string {
  return /ed25519|ecdsa|rsa/.exec(typeOf(key))?.[0] ?? "ed25519";
}
