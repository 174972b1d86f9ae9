// The published component, from its tarball, in the smallest app: as a team would install it, with its own types and its own code.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { parseConfig } from "@pageferry/format";
import { parse } from "yaml";
import { evaluate } from "./evaluate.ts";
import { allOf, type Graph, oneOf, rightsOf } from "./graph.ts";
import { platform, repository } from "./platform.ts";

const run = promisify(execFile);
const component = join(repository, "packages", "sst");

describe("@pageferry/sst, from its tarball", () => {
  let app = "";
  before(async () => {
    app = await mkdtemp(join(tmpdir(), "pageferry-app-"));
    await run("npm", ["run", "--silent", "build"], { cwd: component });
    const { stdout } = await run("npm", ["pack", "--silent", "--pack-destination", app], { cwd: component });
    await cp(join(repository, "examples", "aws"), app, { recursive: true });
    const installed = join(app, "node_modules", "@pageferry", "sst");
    await mkdir(installed, { recursive: true });
    await run("tar", ["-xzf", join(app, stdout.trim()), "-C", installed, "--strip-components=1"]);
    // What `sst install` makes: it is the same for every app with these providers.
    await symlink(join(platform, ".."), join(app, ".sst"));
  });
  after(() => rm(app, { recursive: true, force: true }));

  it("holds compiled code, types and bundles, and no source, no key and no .mjs of its own", async () => {
    const files = (await readdir(join(app, "node_modules/@pageferry/sst"), { recursive: true })).sort();
    assert.ok(
      ["dist/pageferry.js", "dist/pageferry.d.ts", "README.md", "LICENSE"].every((file) =>
        files.includes(file),
      ),
    );
    for (const handler of ["fan-out", "lane", "compact", "prune", "verify", "repair", "api"]) {
      assert.ok(files.includes(`dist/handlers/${handler}/handler.mjs`), handler);
    }
    const own = files.filter((file) => !file.startsWith("dist/handlers"));
    assert.deepEqual(
      own.filter((file) => /\.mjs$|resource\.enc|(?<!\.d)\.ts$/.test(file)),
      [],
    );
  });

  it("is typed against SST's types in an app that checks what it imports", async () => {
    const options = {
      ...{ target: "es2024", module: "esnext", moduleResolution: "bundler", types: [] },
      ...{ strict: true, noEmit: true, skipLibCheck: true },
    };
    const project = join(app, "tsconfig.json");
    await writeFile(
      project,
      JSON.stringify({ compilerOptions: options, include: ["sst.config.ts", "wrong.ts"] }),
    );
    const tsc = join(repository, "node_modules", ".bin", "tsc");
    await run(tsc, ["-p", project]);

    await writeFile(
      join(app, "wrong.ts"),
      `import { Pageferry } from "@pageferry/sst";
       new Pageferry("B", { databases: ["a"], replicas: { r: { type: "file", path: "/x" } } });
       export const queue: $util.Output<number> = new Pageferry("B", { databases: ["a"], replicas: {} }).queue;`,
    );
    const refused = (await run(tsc, ["-p", project]).catch((error: unknown) => error)) as {
      readonly stdout: string;
    };
    assert.deepEqual(
      [...refused.stdout.matchAll(/wrong\.ts\((\d),/g)].map(([, line]) => line),
      ["2", "3"],
    );
    await rm(join(app, "wrong.ts"));
  });

  it("deploys the functions that it brought, with the rights that they have in this repository", async () => {
    const graph: Graph = await evaluate({ root: app });
    assert.equal(Object.keys(graph.bundles).length, 7);
    for (const [name, { exports }] of Object.entries(graph.bundles))
      assert.deepEqual(exports, ["handler"], name);
    assert.match(String(graph.outputs.staging), /^s3:\/\/backup-production-backupstagebucket/);
    assert.equal(graph.outputs.instanceProfile, "BackupAgentWebProfile");
    const deleting = allOf(graph, "role").filter(({ inputs }) =>
      JSON.stringify(inputs).includes("s3:DeleteObject"),
    );
    assert.deepEqual(
      deleting.map(({ name }) => name),
      ["BackupPruneRole"],
    );
    assert.equal(oneOf(graph, "bucket", "BackupMainReplica").options.retainOnDelete, true);
    assert.ok(rightsOf(graph, "BackupFanOut").length > 0);
    // SST writes beside a bundle; the package stays as it was installed.
    const left = await readdir(join(app, "node_modules/@pageferry/sst/dist/handlers/api"));
    assert.ok(!left.includes("resource.enc"));
  });

  it("sends from a host whose files are read as they stand in the example", async () => {
    const written = async (name: string) => readFile(join(app, "host", name), "utf8");
    const lines = (await written("pageferry.env")).split("\n").filter((line) => /^[A-Z_]+=/.test(line));
    const env = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
    const { queue, databases } = parseConfig(parse(await written("pageferry.yml")), { env });
    assert.match(queue?.url ?? "", /^https:\/\/sqs\.eu-central-1\./);
    assert.deepEqual([queue?.staging, queue?.stage], [env.PAGEFERRY_STAGING, "production"]);
    assert.deepEqual(
      databases.map(({ name }) => name),
      ["orders"],
    );
    assert.match(await written("pageferry.service"), /EnvironmentFile=\/etc\/pageferry\.env/);
  });

  it("would not work as .mjs: SST gives such files no globals", async () => {
    const dist = join(app, "node_modules/@pageferry/sst/dist");
    await cp(join(dist, "queue.js"), join(dist, "queue.mjs"));
    const mutation = { file: "dist/pageferry.js", from: "./queue.js", to: "./queue.mjs" };
    await assert.rejects(evaluate({ root: app, mutations: [mutation] }), /sst is not defined/);
  });
});
