// Rules for what runs: functions, their environment, schedules, the API, alarms, and the app itself. Each takes a graph of this repository's
// own deployment and throws.

import assert from "node:assert/strict";
import { readEnvironment } from "../../packages/functions/src/hosts/lambda/environment.ts";
import { allOf, type Graph, type Inputs, oneOf, variablesOf } from "./graph.ts";

/** Every function, and the handler whose bundle it is. */
const handlers: Readonly<Record<string, string>> = {
  BackupFanOut: "fan-out",
  BackupMainLaneConsumer: "lane",
  BackupVaultLaneConsumer: "lane",
  BackupCompact: "compact",
  BackupPrune: "prune",
  BackupVerify: "verify",
  BackupRepair: "repair",
  BackupApi: "api",
};
const functionNames = Object.keys(handlers);

export const functionRules = {
  "there is a function for each task, of a bundle that exports its handler": (graph) => {
    assert.deepEqual(Object.keys(graph.bundles).sort(), [...functionNames].sort());
    assert.equal(allOf(graph, "function").length, functionNames.length);
    for (const [name, { handler, exports }] of Object.entries(graph.bundles)) {
      assert.equal(handler, "handler.handler", name);
      assert.deepEqual(exports, ["handler"], name);
    }
  },
  "a bundle is what was built, and nothing that earlier commands left": (graph) => {
    for (const [name, { files }] of Object.entries(graph.bundles)) {
      assert.ok(files.includes("handler.mjs"), name);
      assert.ok(!files.includes("sst-env.d.ts"), name);
      assert.ok(!files.includes("chunk-OF-BEFORE.mjs"), name);
    }
  },
  "functions run on Node 24, with time and room for their task": (graph) => {
    const room: Readonly<Record<string, readonly [seconds: number, diskMiB: number]>> = {
      ...{ BackupFanOut: [60, 512], BackupMainLaneConsumer: [300, 512], BackupVaultLaneConsumer: [300, 512] },
      ...{ BackupCompact: [900, 10_240], BackupPrune: [900, 512], BackupVerify: [900, 10_240] },
      ...{ BackupRepair: [900, 10_240], BackupApi: [900, 10_240] },
    };
    for (const name of functionNames) {
      const { runtime, architectures, timeout, ephemeralStorage } = called(graph, name);
      assert.deepEqual([runtime, architectures], ["nodejs24.x", ["arm64"]], name);
      assert.deepEqual([timeout, ephemeralStorage], [room[name]?.[0], { size: room[name]?.[1] }], name);
    }
  },
  "the functions understand what they are told": (graph) => {
    for (const name of functionNames) {
      const told = readEnvironment(variablesOf(graph, name));
      assert.deepEqual(
        told.config.databases.map((database) => database.name),
        ["orders", "sessions"],
      );
      assert.equal(told.config.replicas.length, 2);
      assert.equal(told.config.packWindowMs, 20_000);
      assert.equal(told.config.queueRetentionMs, 4 * 86_400_000);
      assert.equal(told.deployStage, graph.app.stage);
      assert.equal(told.stageBucket, oneOf(graph, "bucket", "BackupStage").inputs.bucket);
    }
  },
  "lanes and dead letters are told by the replicas' labels": (graph) => {
    for (const name of functionNames) {
      const { queueUrl, laneUrls, deadLetterUrls } = readEnvironment(variablesOf(graph, name));
      const [main, vault] = ["Main", "Vault"].map(
        (replica) => `s3://${oneOf(graph, "bucket", `Backup${replica}Replica`).inputs.bucket}`,
      );
      assert.deepEqual([...laneUrls.keys()], [main, vault]);
      assert.deepEqual([...deadLetterUrls.keys()], ["ingest", main, vault]);
      assert.equal(queueUrl, graph.outputs.queue);
      assert.match(laneUrls.get(vault ?? "") ?? "", /BackupVaultLaneQueue/);
      assert.match(deadLetterUrls.get(main ?? "") ?? "", /BackupMainLaneDeadQueue/);
    }
  },
  "only the API knows tokens, only fan-out who sends": (graph) => {
    const knowing = (variable: string) =>
      functionNames.filter((name) => Object.keys(variablesOf(graph, name)).includes(variable));
    assert.deepEqual(knowing("PAGEFERRY_TOKENS"), ["BackupApi"]);
    assert.deepEqual(knowing("PAGEFERRY_SENDERS"), ["BackupFanOut"]);
    // Nobody has set one: an empty variable is none.
    assert.deepEqual(knowing("PAGEFERRY_MANIFEST_KEY"), []);
  },
  "the environment is within what AWS takes": (graph) => {
    for (const name of functionNames) {
      const bytes = Object.entries(variablesOf(graph, name)).reduce(
        (sum, pair) => sum + pair.join("").length,
        0,
      );
      assert.ok(bytes <= 4096, `${name}: ${bytes}`);
    }
  },
  "the API alone has a URL: streamed, without CORS, and without AWS's authorization": (graph) => {
    const urls = allOf(graph, "aws:lambda/functionUrl:FunctionUrl");
    assert.deepEqual(
      urls.map(({ name }) => name),
      ["BackupApiUrl"],
    );
    const { authorizationType, invokeMode, cors } = urls[0]?.inputs ?? {};
    assert.deepEqual([authorizationType, invokeMode, cors], ["NONE", "RESPONSE_STREAM", undefined]);
    assert.equal(called(graph, "BackupApi").reservedConcurrentExecutions, 20);
    const permissions = allOf(graph, "aws:lambda/permission:Permission");
    assert.deepEqual(permissions.map(({ name }) => name).sort(), [
      "BackupApiInvokeFunction",
      "BackupApiPublicFunctionUrlAccess",
    ]);
    assert.equal(
      oneOf(graph, "aws:lambda/permission:Permission", "BackupApiI").inputs.invokedViaFunctionUrl,
      true,
    );
  },
  "prune, compact, verify and repair run by the clock": (graph) => {
    const schedules = allOf(graph, "aws:scheduler/schedule:Schedule").map(({ name, inputs }) => {
      const { arn, input, retryPolicy } = inputs.target as Inputs;
      const started = functionNames.find((one) => String(arn).endsWith(`:${called(graph, one).name}`));
      assert.deepEqual(
        [inputs.state, input, retryPolicy],
        ["ENABLED", "{}", { maximumRetryAttempts: 2 }],
        name,
      );
      return [started, inputs.scheduleExpression];
    });
    assert.deepEqual(Object.fromEntries(schedules), {
      BackupCompact: "rate(5 minutes)",
      BackupPrune: "rate(1 hour)",
      BackupVerify: "rate(1 day)",
      BackupRepair: "rate(6 hours)",
    });
    assert.deepEqual(allOf(graph, "aws:cloudwatch/eventRule:EventRule"), []);
  },
  "dead letters, a queue that is half too old, and a function's errors raise an alarm": (graph) => {
    const alarms = allOf(graph, "aws:cloudwatch/metricAlarm:MetricAlarm").map(({ inputs }) => {
      assert.equal(inputs.comparisonOperator, "GreaterThanThreshold");
      assert.equal(inputs.treatMissingData, "notBreaching");
      const [watched] = Object.values(inputs.dimensions as Readonly<Record<string, string>>);
      // Physical names end in letters by chance.
      const what = watched?.replace(/^pageferry-[a-z]+-/, "").replace(/-[a-z]+$/, "");
      return `${what} ${inputs.metricName} > ${inputs.threshold}`.replace(`-${graph.app.stage}-`, "-STAGE-");
    });
    assert.deepEqual(
      alarms.sort(),
      [
        ...functionNames.map((name) => `${name}Function Errors > 0`),
        "undefined pageferry-STAGE-Backup-raised > 0",
        "BackupIngestDeadQueue ApproximateNumberOfMessagesVisible > 0",
        "BackupMainLaneDeadQueue ApproximateNumberOfMessagesVisible > 0",
        "BackupVaultLaneDeadQueue ApproximateNumberOfMessagesVisible > 0",
        "BackupIngestQueue ApproximateAgeOfOldestMessage > 172800",
        "BackupMainLaneQueue ApproximateAgeOfOldestMessage > 604800",
        "BackupVaultLaneQueue ApproximateAgeOfOldestMessage > 604800",
      ].sort(),
    );
  },
  "an alarm that any function writes into its log raises one": (graph) => {
    const groups = allOf(graph, "aws:cloudwatch/logGroup:LogGroup").map(({ inputs }) => inputs.name);
    const filters = allOf(graph, "aws:cloudwatch/logMetricFilter:LogMetricFilter").map(
      ({ inputs }) => inputs,
    );
    assert.deepEqual(filters.map(({ logGroupName }) => logGroupName).sort(), groups.sort());
    const { metricName, namespace, dimensions } = oneOf(
      graph,
      "aws:cloudwatch/metricAlarm:MetricAlarm",
      "BackupRaised",
    ).inputs;
    assert.deepEqual(dimensions, {});
    for (const { pattern, metricTransformation } of filters) {
      // As hosts/lambda/telemetry.ts writes it.
      assert.equal(pattern, '{ ($.level = "ERROR") && ($.alarm.code = "*") }');
      assert.deepEqual(metricTransformation, { namespace, name: metricName, value: "1" });
    }
  },
  "logs end after a month": (graph) => {
    const groups = allOf(graph, "aws:cloudwatch/logGroup:LogGroup");
    assert.equal(groups.length, functionNames.length);
    for (const { name, inputs } of groups) assert.equal(inputs.retentionInDays, 30, name);
  },
  "production is protected, and keeps what it has": (graph) => {
    const isProduction = graph.app.stage === "production";
    assert.deepEqual(
      [graph.app.protect, graph.app.removal],
      isProduction ? [true, "retain"] : [false, "remove"],
    );
  },
  "what a team needs to go on is put out, and linked": (graph) => {
    const { queue, api, staging, instanceProfile } = graph.outputs;
    assert.match(String(queue), /^https:\/\/sqs\.eu-central-1\.amazonaws\.com\/\d+\/.*BackupIngestQueue/);
    assert.match(String(api), /^https:\/\//);
    assert.equal(staging, oneOf(graph, "bucket", "BackupStage").inputs.bucket);
    assert.equal(instanceProfile, "BackupAgentWebProfile");
    const link = oneOf(graph, "sst:sst:LinkRef", "BackupLinkRef").inputs;
    assert.deepEqual(link, { properties: { queue, api, stageBucket: staging } });
  },
} satisfies Readonly<Record<string, (graph: Graph) => void>>;

function called(graph: Graph, name: string): Inputs {
  return oneOf(graph, "function", `${name}Function`).inputs;
}
