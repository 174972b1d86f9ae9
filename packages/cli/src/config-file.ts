// Finds and reads the configuration file. The only file that knows YAML; what the keys mean is @pageferry/format's parseConfig.

import { readFile } from "node:fs/promises";
import { type Config, PageferryError, parseConfig } from "@pageferry/format";
import { LineCounter, parseDocument } from "yaml";
import type { Io } from "./io.ts";

/** Where a machine's configuration lies when nobody says otherwise. */
const systemConfigPath = "/etc/pageferry.yml";

/** A configuration longer than this is not one. */
const configBytesMax = 1024 * 1024;

/** What the command line says, in the words of the file; it wins over the file. */
export type ConfigOverrides = Readonly<Record<string, unknown>>;

/** A configuration and where it came from. */
export interface LoadedConfig {
  readonly config: Config;
  /** Undefined: there was no file. */
  readonly path: string | undefined;
}

/**
 * Reads `--config`, else PAGEFERRY_CONFIG, else /etc/pageferry.yml where it exists, and lays `overrides` over it.
 * Errors: `bad-config`, with the line where YAML breaks.
 */
export async function loadConfig(
  io: Io,
  path: string | undefined,
  overrides: ConfigOverrides = {},
): Promise<LoadedConfig> {
  const asked = path ?? (io.env.PAGEFERRY_CONFIG || undefined);
  const text = await read(asked ?? systemConfigPath, asked !== undefined);
  const found = text === undefined ? undefined : (asked ?? systemConfigPath);
  const written = text === undefined ? {} : parseYaml(text, found ?? "");
  const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
  const merged = isObject(written) ? { ...written, ...given } : written;
  return {
    config: parseConfig(merged, { env: io.env, ...(found === undefined ? {} : { source: found }) }),
    path: found,
  };
}

async function read(path: string, mustExist: boolean): Promise<string | undefined> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > configBytesMax) {
      throw new PageferryError("bad-config", `${path}: ${bytes.length} bytes, more than ${configBytesMax}`);
    }
    return bytes.toString("utf8");
  } catch (cause) {
    if (cause instanceof PageferryError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" && !mustExist) return undefined;
    const why = code === "ENOENT" ? "there is no such file" : `it cannot be read (${code})`;
    throw new PageferryError("bad-config", `${path}: ${why}`, {
      cause,
      hint: "Name the configuration with --config or PAGEFERRY_CONFIG.",
    });
  }
}

/** The excerpt that the library puts into its messages could show a secret, so only the place and the reason are said. */
function parseYaml(text: string, path: string): unknown {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false, uniqueKeys: true });
  const error = document.errors[0];
  if (error !== undefined) {
    const { line, col } = lineCounter.linePos(error.pos[0]);
    const reason = error.code.toLowerCase().replaceAll("_", " ");
    throw new PageferryError("bad-config", `${path}:${line}:${col}: not YAML: ${reason}`);
  }
  return document.toJS() ?? {};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
