// How the engine runs a program that is bundled already: enough of a language host for `preview`, `up` and `destroy`. SST downloads
// Pulumi's own, which is no module that Go could build. The engine starts it, with its address as an argument.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { platform } from "../infra/platform.ts";
import { emptyType, field, type Message, message, proto, serve } from "./grpc.ts";

/** How a program ends that has told the engine itself what is wrong. */
const toldCode = 32;

const answers = proto("language_pb");
const engineAddress = process.argv.findLast((argument) => /^[^/]+:\d+$/.test(argument)) ?? "";
const { resolve } = createRequire(join(platform, "package.json"));

serve(proto("language_grpc_pb").LanguageRuntimeService, {
  handshake: () => message(answers.LanguageHandshakeResponse),
  getPluginInfo: () => message(proto("plugin_pb").PluginInfo, { Version: "0.0.0" }),
  // Providers are found by the resources that ask for them.
  getRequiredPlugins: () => message(answers.GetRequiredPluginsResponse),
  getRequiredPackages: () => message(answers.GetRequiredPackagesResponse),
  getProgramDependencies: () => message(answers.GetProgramDependenciesResponse),
  runtimeOptionsPrompts: () => message(answers.RuntimeOptionsResponse),
  about: () => message(answers.AboutResponse),
  cancel: () => message(emptyType),
  run,
});

interface ConfigMap {
  entries(): Iterable<readonly [string, string]>;
}

async function run(request: Message): Promise<Message> {
  const options = {
    monitor: field(request, "MonitorAddress"),
    engine: engineAddress,
    project: field(request, "Project"),
    stack: field(request, "Stack"),
    organization: field(request, "Organization"),
    parallel: field(request, "Parallel"),
    pwd: field(request, "Pwd"),
  };
  const child = spawn(
    process.execPath,
    [
      resolve("@pulumi/pulumi/cmd/run"),
      ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
      ...(field<boolean>(request, "Dryrun") ? ["--dry-run"] : []),
      entryPoint(request),
    ],
    {
      // The first line of the output is the port alone.
      stdio: ["ignore", process.stderr, process.stderr],
      env: {
        ...process.env,
        PULUMI_CONFIG: JSON.stringify(Object.fromEntries(field<ConfigMap>(request, "ConfigMap").entries())),
        PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(field(request, "ConfigsecretkeysList")),
      },
    },
  );
  const code = await new Promise<number | null>((ended) => child.once("exit", ended));
  if (code === 0) return message(answers.RunResponse);
  return message(
    answers.RunResponse,
    code === toldCode ? { Bail: true } : { Error: `it ended with ${code}` },
  );
}

function entryPoint(request: Message): string {
  const info = field<Message | undefined>(request, "Info");
  const named = info === undefined ? "" : field<string>(info, "EntryPoint");
  return named === "" || named === "." ? field<string>(request, "Program") : named;
}
