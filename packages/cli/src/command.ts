// What a command is: its words, its options, and what it does. program.ts makes a command line of them.

import { defaultDataDir } from "./data-dir.ts";
import type { Io } from "./io.ts";

/** An argument, in the usual notation: `<file>`, `[db...]`. */
export interface ArgumentSpec {
  readonly syntax: string;
  readonly description: string;
}

/** An option, in the usual notation: `-o, --output <file>`. */
export interface OptionSpec {
  readonly flags: string;
  readonly description: string;
  /** Turns the text into the value; throws `bad-request`. Without it the text itself, or true. */
  readonly parse?: (text: string) => unknown;
  readonly isRequired?: boolean;
}

/** How a command ends that is not for us to judge: with another program's exit code. */
export interface CommandEnd {
  readonly exitCode: number;
}

/** A command. `Options` has what `options` yields, in camel case; each is undefined unless given. */
export interface CommandSpec<Options extends object> {
  readonly name: string;
  readonly summary: string;
  readonly arguments?: readonly ArgumentSpec[];
  readonly options?: readonly OptionSpec[];
  /** Shown under the options by --help: examples first, then what surprises. */
  readonly examples: string;
  /** Carries the command out; failure is thrown. Nothing: it ends with 0. */
  run(
    args: readonly string[],
    options: Partial<Options>,
    io: Io,
  ): Promise<CommandEnd | undefined> | Promise<void> | void;
}

/** Every command takes it. */
export const jsonOption: OptionSpec = { flags: "--json", description: "print JSON for scripts" };

/** Those that ask a host take it. */
export const dataOption: OptionSpec = {
  flags: "--data <dir>",
  description: `where a host on this machine keeps its token (default ${defaultDataDir})`,
};

/** What FROM may be. */
export const fromDescription =
  "replicas (a path, file://, s3://, nats://, sftp://), each of which may hold what another lacks, or http://HOST/v1/databases/NAME";

/** Those that read replicas take it. */
export const fromConfigOption: OptionSpec = {
  flags: "--config <file>",
  description:
    "take credentials from it; FROM may then be the name of a database in it, for all its replicas",
};
