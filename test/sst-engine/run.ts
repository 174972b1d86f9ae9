// The proof by SST's real command and Pulumi's real engine, without an account: `npm run test:sst-engine`. Not part of `npm test`: the
// engine is built once, for some minutes, and a run takes a few more. What the provider would make is only noted down: aws-rules.ts and
// test/infra/provider.ts are all of AWS that there is.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { startMinistack } from "../servers/ministack.ts";
import { temporaryDirectory } from "../temporary.ts";
import { type Act, actsIn } from "./cloud.ts";
import { preparedEngine } from "./engine.ts";
import { type App, makeWorkspace } from "./workspace.ts";

const stage = "engine";
/** A token's record, by a word that is looked for in the state. */
const mark = "a-hash-that-nobody-may-read";
/** What holds data, and what makes it safe: a bucket that is kept without its policy or its versions is not kept. */
const kept = {
  "aws:s3/bucket:Bucket": 3,
  "aws:s3/bucketPolicy:BucketPolicy": 3,
  "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": 3,
  "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": 3,
  "aws:s3/bucketVersioning:BucketVersioning": 2,
  "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": 1,
  "aws:sqs/queue:Queue": 6,
};
/** In sst.config.ts, where another setting is put. */
const anchor = 'handlers: "packages/functions/dist/lambda",';
/** A router has resources of a provider in Node, which calls AWS itself: it is left to the evaluated graph. */
const domainOfEverything = `domain: {
        name: "backup.example.com",
        dns: false,
        cert: "arn:aws:acm:us-east-1:111122223333:certificate/c",
      },`;
/** As long as infra/checks.ts takes them. */
const longestName = "Abcdefghijklmnopqrst";

const started = performance.now();
let done = 0;

const engine = await preparedEngine(console.log);
await using aws = await startMinistack();
await using directory = await temporaryDirectory();
const workspace = await makeWorkspace({ directory: directory.path, engine, endpoint: aws.endpoint, stage });
const app = await workspace.app("here");
const elsewhere = await workspace.app("elsewhere");
let actsSeen = 0;
console.log(`sst in ${app.path}, pulumi ${engine.version}, stage ${stage}`);

await step("diff of a new stage: everything is created, nothing is made", async () => {
  await ran(app, "secret", "set", "BackupTokens", JSON.stringify([{ hash: mark }]));
  const plan = await planned(app);
  assert.deepEqual(new Set(plan.map(({ op }) => op)), new Set(["create"]));
  assert.deepEqual(newActs(), []);
  return `${plan.length} resources and components to create`;
});

await step("deploy: complete, with the outputs of the configuration", async () => {
  const said = await ran(app, "deploy");
  assert.match(said, /✓ {2}Complete/);
  const acts = newActs();
  assert.deepEqual(new Set(acts.map(({ what }) => what)), new Set(["create"]));
  assert.partialDeepStrictEqual(countByType(acts), { ...kept, "aws:lambda/function:Function": 8 });
  const outputs = JSON.parse(await readFile(join(app.path, ".sst", "outputs.json"), "utf8"));
  assert.deepEqual(outputs, {
    queue: madeAs(acts, "BackupIngestQueue"),
    staging: madeAs(acts, "BackupStageBucket"),
    instanceProfile: madeAs(acts, "BackupAgentWebProfile"),
    api: outputs.api,
  });
  assert.match(outputs.api, /^https:\/\/\w+\.lambda-url\.eu-central-1\.on\.aws\/$/);
  for (const [name, value] of Object.entries(outputs)) assert.ok(said.includes(`${name}: ${value}`), name);
  return `${acts.length} resources made; queue: ${outputs.queue}`;
});

await step("the state holds no secret that could be read", async () => {
  const state = await ran(app, "state", "export");
  const decrypted = await ran(app, "state", "export", "--decrypt");
  assert.ok(decrypted.includes(mark), "the record does not even arrive");
  assert.ok(!state.includes(mark));
  assert.match(state, /"retainOnDelete": true/);
  return "the token's record is in it, encrypted";
});

await step("second diff: no changes", async () => {
  const said = await ran(app, "diff");
  assert.match(said, /No changes/);
  return said.trim().split("\n").at(-1) ?? "";
});

await step("second diff from another directory, as a colleague's: no changes", async () => {
  assert.deepEqual(await planned(elsewhere), []);
  assert.deepEqual(newActs(), []);
  return elsewhere.path;
});

await step("one setting changed: one update, of the right resource", async () => {
  await app.alter("sst.config.ts", { [anchor]: `${anchor} concurrency: { fanOut: 5 },` });
  const [change, ...others] = await planned(app);
  assert.deepEqual(others, []);
  assert.partialDeepStrictEqual(change, { op: "update", diffs: ["scalingConfig"] });
  assert.match(change?.urn ?? "", /EventSourceMapping::BackupIngestSubscriber/);
  await ran(app, "deploy");
  const acts = newActs();
  assert.deepEqual(
    acts.map(({ what, type }) => [what, type]),
    [["update", "aws:lambda/eventSourceMapping:EventSourceMapping"]],
  );
  assert.deepEqual(await planned(app), []);
  return `${acts[0]?.name}: ${change?.diffs.join()}`;
});

await step(
  "a function's code changed: its bundle is uploaded and the function updated, and no other",
  async () => {
    const restore = await app.alter("packages/functions/dist/lambda/prune/handler.mjs", {
      "pageferryRequire(import.meta.url);": "pageferryRequire(import.meta.url);/* another */",
    });
    const changes = (await planned(app)).map(({ op, type }) => `${op} ${type}`);
    await restore();
    assert.deepEqual(
      changes.filter((change) => change.includes("lambda/function:Function")),
      ["update aws:lambda/function:Function"],
    );
    assert.deepEqual(
      changes.filter((change) => change.startsWith("delete") || change.startsWith("create ")),
      [],
    );
    return changes.join(", ");
  },
);

await step("the longest names that infra takes are names that AWS takes", async () => {
  const restore = await elsewhere.alter("sst.config.ts", {
    'new Pageferry("Backup"': `new Pageferry("${longestName}"`,
    "vault:": `${longestName}:`,
    "web:": `${longestName}:`,
    "backup.agents.web": `backup.agents.${longestName}`,
  });
  const plan = await planned(elsewhere, "--stage", "a-stage-of-a-colleague");
  await restore();
  assert.deepEqual(new Set(plan.map(({ op }) => op)), new Set(["create"]));
  return `${plan.length} names`;
});

await step("control: an input that changes at each run is seen", async () => {
  const restore = await elsewhere.alter("infra/function.ts", {
    "description: options.description,": "description: `${options.description} ${Date.now()}`,",
  });
  await elsewhere.alter("sst.config.ts", { [anchor]: `${anchor} concurrency: { fanOut: 5 },` });
  const changes = await planned(elsewhere);
  await restore();
  assert.deepEqual(
    changes.map(({ op, diffs }) => [op, ...diffs]),
    Array.from({ length: 8 }, () => ["update", "description"]),
  );
  return `${changes.length} updates of functions, and nothing else`;
});

await step("control: a name that AWS does not take is refused", async () => {
  const restore = await elsewhere.alter("infra/agents.ts", {
    "`${name}Role`": `\`\${name}${"Role".repeat(15)}\``,
  });
  const { code, output } = await elsewhere.sst("diff");
  await restore();
  assert.equal(code, 1);
  const refused = /"BackupAgentWebRole\w+-[0-9a-f]{7}" is not .*/.exec(output)?.[0];
  assert.ok(refused !== undefined, output);
  return refused;
});

await step("control: an output that nobody waited for is refused", async () => {
  const restore = await elsewhere.alter("infra/environment.ts", {
    "PAGEFERRY_QUEUE_URL: queues.ingest.url,": "PAGEFERRY_QUEUE_URL: `${queues.ingest.url}`,",
  });
  const { code, output } = await elsewhere.sst("diff");
  await restore();
  assert.equal(code, 1);
  assert.match(output, /an output as a text/);
  return "environment: an output as a text";
});

await step("remove of a stage that is protected: refused", async () => {
  const { code, output } = await app.sst("remove", "--stage", "production");
  assert.equal(code, 1);
  assert.match(output, /Cannot remove protected stage/);
  assert.deepEqual(newActs(), []);
  return output.trim().replace(/^✕ +/, "");
});

await step("remove: buckets and queues stay, with what makes them safe; all else goes", async () => {
  const made = countByType(actsIn(workspace.cloud).filter(({ what }) => what === "create"));
  await ran(app, "remove");
  const acts = newActs();
  assert.deepEqual(new Set(acts.map(({ what }) => what)), new Set(["delete"]));
  const left = Object.fromEntries(
    Object.entries(made)
      .map(([type, count]) => [type, count - (countByType(acts)[type] ?? 0)] as const)
      .filter(([, count]) => count > 0),
  );
  assert.deepEqual(left, kept);
  return `${acts.length} deleted, ${Object.values(left).reduce((sum, count) => sum + count)} kept`;
});

await step("deleteWithStage: nothing changes when it is deployed, and then remove deletes all", async () => {
  await ran(elsewhere, "deploy");
  const made = countByType(newActs());
  await elsewhere.alter("sst.config.ts", { [anchor]: `${anchor} deleteWithStage: true,` });
  await ran(elsewhere, "deploy");
  assert.deepEqual(newActs(), []);
  await ran(elsewhere, "remove");
  const acts = newActs();
  assert.deepEqual(countByType(acts), made);
  return `${acts.length} deleted`;
});

await step(
  "every other choice (NATS, SFTP, VPC, all identities, alarms): deployed, and no changes after",
  async () => {
    const every = await workspace.app("everything", "test/infra/apps/everything/sst.config.ts");
    await every.alter("sst.config.ts", { [domainOfEverything]: "" });
    for (const secret of ["OtherKey", "OtherSecret", "NatsUser", "NatsPassword", "NasPassword"]) {
      await ran(every, "secret", "set", secret, mark);
    }
    await ran(every, "deploy");
    const acts = newActs();
    assert.deepEqual(await planned(every), []);
    const state = await ran(every, "state", "export");
    const decrypted = await ran(every, "state", "export", "--decrypt");
    // The static key, as test/infra/provider.ts makes it.
    for (const secret of [mark, "a-secret-access-key"]) {
      assert.ok(decrypted.includes(secret), `${secret} does not even arrive`);
      assert.ok(!state.includes(secret), `${secret} can be read in the state`);
    }
    return `${acts.length} resources made`;
  },
);

console.log(`all ${done} hold, ${seconds(started)} s`);

interface Change {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
  readonly diffs: readonly string[];
}

/** What a deployment would do. */
async function planned(where: App, ...args: readonly string[]): Promise<readonly Change[]> {
  const changes: readonly Change[] = JSON.parse(await ran(where, "diff", "--json", ...args));
  return changes.map(({ op, urn, type, diffs = [] }) => ({ op, urn, type, diffs }));
}

/** Runs a command that must end well. */
async function ran(where: App, ...args: readonly string[]): Promise<string> {
  const { code, output, log } = await where.sst(...args);
  assert.equal(code, 0, `sst ${args.join(" ")}:\n${output.slice(-3000)}\n${code === 0 ? "" : await log()}`);
  return output;
}

/** What the provider was asked since this was asked last. */
function newActs(): readonly Act[] {
  const fresh = actsIn(workspace.cloud).slice(actsSeen);
  actsSeen += fresh.length;
  return fresh;
}

function countByType(acts: readonly Act[]): Readonly<Record<string, number>> {
  const byType = Map.groupBy(acts, ({ type }) => type);
  return Object.fromEntries([...byType].map(([type, ofType]) => [type, ofType.length]));
}

function madeAs(acts: readonly Act[], name: string): string | undefined {
  return acts.find((act) => act.what === "create" && act.name === name)?.id;
}

/** Says what held and how long it took; the first thing that does not ends the run. */
async function step(claim: string, prove: () => Promise<string>): Promise<void> {
  const begun = performance.now();
  try {
    const seen = await prove();
    console.log(`✓ ${claim} (${seconds(begun)} s)\n    ${seen}`);
    done += 1;
  } catch (error) {
    console.error(`✕ ${claim} (${seconds(begun)} s)`);
    throw error;
  }
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
