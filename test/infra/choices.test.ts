// What a deployment may choose otherwise than this repository's own: replicas that are there or elsewhere, every identity of an agent,
// a domain, a network of its own, `sst dev`.

import assert from "node:assert/strict";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { replicaLabel } from "@pageferry/format";
import { readEnvironment } from "../../packages/functions/src/hosts/lambda/environment.ts";
import { evaluate } from "./evaluate.ts";
import { allOf, type Graph, oneOf, rightsOf, statementsOf, variablesOf } from "./graph.ts";
import { rules } from "./rules.ts";

const secrets = {
  ...{ OtherKey: "AKIDOTHER", OtherSecret: "other-secret", NasPassword: "nas-password" },
  ...{ NatsUser: "ferry", NatsPassword: "nats-password" },
};
const tasks = ["FanOut", "Compact", "Prune", "Verify", "Api"].map((task) => `Vault${task}`);

describe("a deployment with every other choice", () => {
  let graph: Graph;
  before(async () => {
    const config = join(import.meta.dirname, "apps", "everything", "sst.config.ts");
    graph = await evaluate({ config, secrets, standIns: true });
  });

  it("makes no bucket for a replica that is there or elsewhere", () => {
    assert.deepEqual(
      allOf(graph, "bucket").map(({ name }) => name),
      ["VaultStageBucket"],
    );
  });

  it("may touch only the prefix of a bucket that is there, and of others none", () => {
    const arns = (name: string, action: string) =>
      rightsOf(graph, name).flatMap(({ Action, Resource }) => (Action.includes(action) ? Resource : []));
    assert.deepEqual(arns("VaultPrune", "s3:DeleteObject"), ["arn:aws:s3:::team-backups/bolt/eu/*"]);
    assert.ok(arns("VaultApi", "s3:PutObject").includes("arn:aws:s3:::team-backups/bolt/eu/*/leases/*"));
    for (const name of tasks) {
      for (const { Resource } of rightsOf(graph, name)) assert.doesNotMatch(Resource.join(), /copies/, name);
    }
    assert.deepEqual(arns("VaultNatsLaneConsumer", "s3:ListBucket").length, 1);
  });

  it("tells the functions every replica as they would call it, with secrets in their own variables", () => {
    const variables = variablesOf(graph, "VaultFanOut");
    assert.doesNotMatch(variables.PAGEFERRY_CONFIG ?? "", /nats-password|other-secret/);
    const { config, laneUrls, senders } = readEnvironment(variables);
    assert.deepEqual([...laneUrls.keys()], config.replicas.map(replicaLabel));
    assert.deepEqual(
      config.databases.map(({ name }) => name),
      ["orders", "sessions.v2", "audit"],
    );
    const nats = config.replicas.find(({ type }) => type === "nats");
    assert.ok(nats?.type === "nats" && nats.url.startsWith("tls://ferry:nats-password@nats1.internal"));
    assert.equal(senders?.size, 6);
    assert.equal(config.granularity, "transaction");
  });

  it("runs its functions in the network of a private replica", () => {
    for (const { name, inputs } of allOf(graph, "function")) {
      assert.deepEqual(inputs.vpcConfig, { securityGroupIds: ["sg-1"], subnetIds: ["subnet-1"] }, name);
    }
  });

  it("gives each agent what its identity needs, and its own databases", () => {
    const agents = graph.outputs.agents as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    const kinds = Object.entries(agents).map(([key, { databases: _, ...access }]) => [
      key,
      Object.keys(access),
    ]);
    assert.deepEqual(Object.fromEntries(kinds), {
      instance: ["role", "instanceProfile"],
      task: ["role"],
      rack: ["role", "rolesAnywhereProfile"],
      ci: ["role"],
      far: [],
      legacy: ["accessKeyId", "secretAccessKey"],
    });
    const staged = graph.resources
      .filter(({ type, name }) => /Policy$/.test(type) && name.startsWith("VaultAgent"))
      .map(({ name, inputs }) => {
        const [send, stage, ...others] = statementsOf(inputs.policy);
        assert.deepEqual([send?.Action, stage?.Action, others], [["sqs:SendMessage"], ["s3:PutObject"], []]);
        const keys = stage?.Resource.map((arn) => arn.replace(/^[^/]*\/stage\//, ""));
        return [name.replace(/^VaultAgent/, "").replace(/Policy$/, ""), keys];
      });
    assert.deepEqual(Object.fromEntries(staged), {
      ...{ Instance: ["orders/*"], Task: ["orders/*"], Rack: ["sessions.v2/*"], Ci: ["audit/*"] },
      Legacy: ["orders/*", "audit/*"],
    });
  });

  it("lets a certificate's or a token's own subject become the role, and nobody else", () => {
    const trust = (name: string) => statementsOf(oneOf(graph, "role", name).inputs.assumeRolePolicy)[0];
    assert.deepEqual(trust("VaultAgentRackRole")?.Condition, {
      ArnEquals: { "aws:SourceArn": ["arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/0f1e"] },
      StringEquals: { "aws:PrincipalTag/x509Subject/CN": ["rack.example.com"] },
    });
    assert.deepEqual(trust("VaultAgentCiRole")?.Condition, {
      StringEquals: { "token.example.com:aud": ["sts.amazonaws.com"], "token.example.com:sub": ["host:ci"] },
    });
  });

  it("takes its own schedules, bounds, topic and domain", () => {
    const schedules = allOf(graph, "aws:scheduler/schedule:Schedule").map(
      ({ inputs }) => inputs.scheduleExpression,
    );
    assert.deepEqual(schedules.sort(), ["cron(0 3 * * ? *)", "rate(1 day)", "rate(5 minutes)"]);
    const most = allOf(graph, "aws:lambda/eventSourceMapping:EventSourceMapping").map(
      ({ inputs }) => (inputs.scalingConfig as { readonly maximumConcurrency: number }).maximumConcurrency,
    );
    assert.deepEqual(most.sort(), [3, 3, 3, 3, 4]);
    assert.equal(oneOf(graph, "function", "VaultApi").inputs.reservedConcurrentExecutions, undefined);
    for (const { inputs } of allOf(graph, "aws:cloudwatch/metricAlarm:MetricAlarm")) {
      assert.deepEqual(inputs.alarmActions, ["arn:aws:sns:eu-central-1:111122223333:on-call"]);
    }
    const { aliases } = oneOf(graph, "aws:cloudfront/distribution:Distribution", "VaultRouter").inputs;
    assert.deepEqual(aliases, ["backup.example.com"]);
  });

  it("deletes what it holds with its stage only where that was said, and empties nothing even then", () => {
    for (const { name, inputs, options } of [...allOf(graph, "queue"), ...allOf(graph, "bucket")]) {
      assert.equal(options.retainOnDelete, undefined, name);
      assert.notEqual(inputs.forceDestroy, true, name);
    }
  });
});

describe("sst dev", () => {
  it("leaves every function where it was deployed: a laptop takes nothing out of the queue", async () => {
    const graph = await evaluate({ stage: "dev", dev: true, standIns: true });
    for (const rule of Object.values(rules)) rule(graph);
    assert.doesNotMatch(JSON.stringify(allOf(graph, "function")), /SST_FUNCTION_ID|\(live\)/);
  });

  it("would take them otherwise, and be seen", async () => {
    const mutation = { file: "infra/function.ts", from: "dev: false,", to: "" };
    await assert.rejects(
      evaluate({ stage: "dev", dev: true, mutations: [mutation], standIns: true }),
      /Appsync/,
    );
  });
});
