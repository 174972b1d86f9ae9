// The command line as a whole: which commands there are, in the order in which people need them. The only file that knows commander.

import { PageferryError } from "@pageferry/format";
import { Command, CommanderError, Option } from "commander";
import type { CommandEnd, CommandSpec } from "./command.ts";
import { checkCommand } from "./commands/check.ts";
import { compactCommand } from "./commands/compact.ts";
import { demoCommand } from "./commands/demo.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { filesCommand } from "./commands/files.ts";
import { getCommand } from "./commands/get.ts";
import { lsCommand } from "./commands/ls.ts";
import { pinCommand } from "./commands/pin.ts";
import { pointsCommand } from "./commands/points.ts";
import { pruneCommand } from "./commands/prune.ts";
import { registerCommand } from "./commands/register.ts";
import { reloadCommand } from "./commands/reload.ts";
import { repairCommand } from "./commands/repair.ts";
import { replayCommand } from "./commands/replay.ts";
import { replicateCommand } from "./commands/replicate.ts";
import { restoreCommand } from "./commands/restore.ts";
import { serveCommand } from "./commands/serve.ts";
import { statusCommand } from "./commands/status.ts";
import { syncCommand } from "./commands/sync.ts";
import { tokenCommand } from "./commands/token.ts";
import { unregisterCommand } from "./commands/unregister.ts";
import { upCommand } from "./commands/up.ts";
import { verifyCommand } from "./commands/verify.ts";
import { versionCommand, versionText } from "./commands/version.ts";
import { waitCommand } from "./commands/wait.ts";
import type { Io } from "./io.ts";

const commands = [
  upCommand,
  restoreCommand,
  pointsCommand,
  filesCommand,
  lsCommand,
  getCommand,
  statusCommand,
  waitCommand,
  replayCommand,
  checkCommand,
  repairCommand,
  verifyCommand,
  compactCommand,
  pruneCommand,
  pinCommand,
  serveCommand,
  replicateCommand,
  registerCommand,
  unregisterCommand,
  syncCommand,
  reloadCommand,
  tokenCommand,
  doctorCommand,
  demoCommand,
  versionCommand,
] as const;

/** What can be typed after `pageferry`. The commands that start agent or host load them when they run: the others start at once. */
export const commandNames: readonly string[] = commands.map(({ name }) => name);

const examples = `
Examples:
  pageferry up path/to/app.db                                  back it up, for as long as this runs
  pageferry points pageferry-data/replica/app                  what can be restored
  pageferry restore -o app.db pageferry-data/replica/app       the newest point
  pageferry demo                                               all of it, on a recorded application

Exit codes, configuration and alarms: docs/operations.md and docs/errors.md.
`;

/** Parses `argv`, carries it out and gives the exit code. Failures are thrown, usage errors as `bad-request`; nothing ends the process. */
export async function runProgram(argv: readonly string[], io: Io): Promise<number> {
  let exitCode = 0;
  try {
    await createProgram(io, (end) => {
      exitCode = end.exitCode;
    }).parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help or the version was asked for, and shown.
    if (error.exitCode !== 0) throw usageError(error, argv);
  }
  return exitCode;
}

function createProgram(io: Io, ended: (end: CommandEnd) => void): Command {
  const program = new Command("pageferry")
    .description("Continuous, page-level, off-host backup for bolt databases.")
    .version(versionText(), "-V, --version", "print the version")
    .addHelpText("after", examples);
  for (const spec of commands) program.addCommand(commandOf(spec, io, ended));
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ writeOut: io.out, writeErr: io.err, outputError: () => {} });
    command.helpOption("-h, --help", "show this help");
  }
  return program.addHelpCommand("help [command]", "show the help of a command");
}

function commandOf<Options extends object>(
  spec: CommandSpec<Options>,
  io: Io,
  ended: (end: CommandEnd) => void,
): Command {
  const command = new Command(spec.name)
    .description(spec.summary)
    .addHelpText("after", `\n${spec.examples.trim()}\n`);
  for (const { syntax, description } of spec.arguments ?? []) command.argument(syntax, description);
  for (const { flags, description, parse, isRequired = false } of spec.options ?? []) {
    const option = new Option(flags, description).makeOptionMandatory(isRequired);
    command.addOption(parse === undefined ? option : option.argParser(parse));
  }
  return command.action(async () => {
    const end = await spec.run(command.args, command.opts<Partial<Options>>(), io);
    if (end !== undefined) ended(end);
  });
}

function usageError(error: CommanderError, argv: readonly string[]): PageferryError {
  const name = commands.find((spec) => argv.includes(spec.name))?.name;
  const isBare = error.code === "commander.help";
  const message = isBare
    ? "a command is expected"
    : error.message.replace(/^error: /, "").replaceAll("\n", " ");
  return new PageferryError("bad-request", message, {
    cause: error,
    hint: `See \`pageferry ${name === undefined || isBare ? "" : `${name} `}--help\` for what it takes.`,
  });
}
