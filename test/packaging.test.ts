// What packaging/ holds is read by those who will read it, where tests can have them, and by a plain look where not.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { pageferryOk } from "./pageferry.ts";
import { runProcess } from "./processes.ts";
import { temporaryDirectory } from "./temporary.ts";

const root = join(import.meta.dirname, "..");
const read = (file: string): string => readFileSync(join(root, "packaging", file), "utf8");
const units = ["pageferry.service", "pageferry@.service"] as const;

/** The lines of a unit as `Section.Key=value`. */
function settingsOf(unit: string): string[] {
  let section = "";
  return read(unit)
    .split("\n")
    .flatMap((line) => {
      section = /^\[(\w+)\]$/.exec(line)?.[1] ?? section;
      return /^\w+=/.test(line) ? [`${section}.${line}`] : [];
    });
}

/** What a service of somebody else's host must not be able to do. */
const hardening = [
  "NoNewPrivileges=yes",
  "ProtectSystem=strict",
  "PrivateTmp=yes",
  "CapabilityBoundingSet=",
  "SystemCallFilter=@system-service",
  "SystemCallFilter=~@privileged",
  "RestrictNamespaces=yes",
  "UMask=0077",
];

suite("the systemd units", () => {
  for (const unit of units) {
    test(`${unit} is hardened, is bounded, and drains`, () => {
      const settings = settingsOf(unit);

      for (const line of hardening) assert.ok(settings.includes(`Service.${line}`), line);
      for (const key of ["MemoryMax", "CPUWeight", "CPUQuota", "TasksMax", "StateDirectory", "User"])
        assert.ok(
          settings.some((line) => line.startsWith(`Service.${key}=`)),
          key,
        );
      const drain = settings.find((line) => line.startsWith("Service.TimeoutStopSec=")) ?? "";
      assert.ok(Number(drain.split("=")[1]) > 30);
      // A restored file is given the group of its forerunner, and a start that failed is tried again for as long as it takes.
      assert.ok(
        settings.indexOf("Service.SystemCallFilter=fchown") >
          settings.indexOf("Service.SystemCallFilter=~@privileged"),
      );
      assert.ok(settings.includes("Unit.StartLimitIntervalSec=0"));
      // The locks of bolt files stand in /proc/locks, and agents lock each other out by sockets of the host's network.
      assert.ok(!settings.some((line) => /^Service\.(ProcSubset|PrivateNetwork|MemoryDeny)/.test(line)));
    });

    test(`${unit} is what systemd takes, with an exposure of at most 2`, async () => {
      await using directory = await temporaryDirectory();
      const path = directory.file(unit);
      // Of the program only systemd wants to know that it is there.
      await writeFile(path, read(unit).replace("/usr/bin/node", process.execPath));
      const verified = await runProcess("systemd-analyze", ["verify", "--man=no", path]);
      assert.equal(verified.code, 0, verified.stderr);
      assert.equal(verified.stderr.trim(), "");
      const judged = await runProcess("systemd-analyze", [
        "security",
        "--offline=true",
        "--threshold=20",
        path,
      ]);
      assert.equal(judged.code, 0, judged.stdout);
    });
  }

  test("start a command that there is", async () => {
    for (const unit of units) {
      const [, verb = ""] = /^ExecStart=\S+ \S+pageferry\.mjs (\S+)/m.exec(read(unit)) ?? [];
      await pageferryOk([verb, "--help"]);
    }
  });
});

suite("the Dockerfile", () => {
  const lines = read("Dockerfile")
    .split("\n")
    .filter((line) => /^[A-Z]+ /.test(line));
  const of = (word: string) => lines.filter((line) => line.startsWith(`${word} `));

  test("copies what there is, and what its ignore file lets through", () => {
    const copied = of("COPY")
      .filter((line) => !line.includes("--from="))
      .flatMap((line) => line.split(" ").slice(1, -1));
    const ignored = read("Dockerfile.dockerignore").split("\n");

    for (const path of copied) {
      assert.ok(existsSync(join(root, path)), path);
      assert.ok(ignored.includes(`!${path}`), path);
    }
  });

  test("has the Node of the tests, pinned, and does not run as root", () => {
    const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

    for (const line of of("FROM")) assert.match(line, new RegExp(`^FROM node:${devDependencies.node}-`));
    assert.deepEqual(of("USER"), ["USER node"]);
    assert.equal(of("HEALTHCHECK").length, 1);
  });

  test("has every workspace's package.json that npm ci asks for", () => {
    const { workspaces } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const text = read("Dockerfile");

    for (const path of workspaces.filter((one: string) => !one.startsWith("packages/")))
      assert.ok(text.includes(`COPY ${path}/package.json ${path}/package.json`), path);
  });
});

/** Those of launchd.plist(5) that are used, with their types as JSON has them. launchd passes over a key that it does not know. */
const launchdKeys: Readonly<Record<string, string>> = {
  Label: "string",
  ProgramArguments: "array",
  RunAtLoad: "boolean",
  KeepAlive: "boolean",
  ExitTimeOut: "number",
  ProcessType: "string",
  LowPriorityIO: "boolean",
  Umask: "number",
  SoftResourceLimits: "object",
  StandardErrorPath: "string",
};

suite("the launchd agent", () => {
  test("is a property list that starts a command there is", async () => {
    const script = "import json,plistlib,sys; print(json.dumps(plistlib.load(open(sys.argv[1],'rb'))))";
    const path = join(root, "packaging/com.pageferry.agent.plist");
    const { stdout, stderr } = await runProcess("python3", ["-c", script, path]);
    const list = JSON.parse(stdout || JSON.stringify(stderr)) as Record<string, unknown>;

    const [, program, verb = ""] = list.ProgramArguments as string[];
    assert.match(program ?? "", /\/pageferry\.mjs$/);
    await pageferryOk([verb, "--help"]);
    assert.equal(list.KeepAlive, true);
    assert.equal(list.Umask, 0o077);
    for (const [key, value] of Object.entries(list))
      assert.equal(Array.isArray(value) ? "array" : typeof value, launchdKeys[key], key);
    assert.ok(["Background", "Standard", "Adaptive", "Interactive"].includes(String(list.ProcessType)));
    assert.deepEqual(Object.keys(list.SoftResourceLimits as object), ["NumberOfFiles"]);
    assert.ok(Number(list.ExitTimeOut) > 30, "it drains for 30 s");
  });
});
