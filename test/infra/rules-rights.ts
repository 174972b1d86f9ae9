// Rules for who may do what. Each takes a graph of this repository's own deployment and throws.

import assert from "node:assert/strict";
import {
  allOf,
  type Graph,
  listOf,
  oneOf,
  rightsOf,
  type Statement,
  statementsOf,
  variablesOf,
} from "./graph.ts";
import { expectedRights, rightsTable } from "./rights.ts";

const functionNames = Object.keys(expectedRights);

export const rightsRules = {
  ...Object.fromEntries(
    functionNames.map((name) => [
      `${name} may do what is in its table, and nothing else`,
      (graph: Graph) =>
        assert.deepEqual(
          sorted(rightsTable(graph, rightsOf(graph, name))),
          sorted(expectedRights[name] ?? {}),
        ),
    ]),
  ),
  "no identity has a wildcard for an action, or for all resources": (graph: Graph) => {
    for (const [name, statement] of allStatements(graph)) {
      for (const action of statement.Action) assert.doesNotMatch(action, /\*/, name);
      for (const resource of statement.Resource)
        assert.match(resource, /^arn:aws:[a-z0-9]+:[^*]*[^*:/]/, name);
    }
  },
  "a function's role may write logs besides, and nothing else of AWS's own policies": (graph: Graph) => {
    for (const name of functionNames) {
      assert.deepEqual(oneOf(graph, "role", `${name}Role`).inputs.managedPolicyArns, [
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
      ]);
    }
  },
  "only prune may delete, and nobody may delete a version": (graph: Graph) => {
    const deleting = allStatements(graph)
      .filter(([, { Action }]) => Action.some((action) => /^s3:.*Delete/.test(action)))
      .map(([name, { Action }]) => ({ name, Action }));
    assert.deepEqual(deleting, [{ name: "BackupPruneRole", Action: ["s3:DeleteObject"] }]);
  },
  "a role trusts one service, and never the account": (graph: Graph) => {
    for (const { name, inputs } of allOf(graph, "role")) {
      const service = /^BackupAgent/.test(name) ? "ec2" : /ScheduleRole$/.test(name) ? "scheduler" : "lambda";
      const [trust, ...others] = statementsOf(inputs.assumeRolePolicy);
      assert.deepEqual(others, [], name);
      assert.deepEqual(trust?.Action, ["sts:AssumeRole"], name);
      const { Service, ...principals } = (trust?.Principal ?? {}) as Readonly<Record<string, string>>;
      assert.deepEqual([listOf(Service), principals], [[`${service}.amazonaws.com`], {}], name);
    }
  },
  "a schedule may start its own function": (graph: Graph) => {
    for (const name of ["BackupCompact", "BackupPrune", "BackupVerify", "BackupRepair"]) {
      const { name: called } = oneOf(graph, "function", `${name}Function`).inputs;
      const [right, ...others] = rightsOf(graph, `${name}Schedule`);
      assert.deepEqual(others, []);
      assert.deepEqual(right?.Action, ["lambda:InvokeFunction"]);
      assert.match(right?.Resource.join() ?? "", new RegExp(`:${called}$`));
    }
  },
  "an agent may send to one queue and stage for its own databases": (graph: Graph) => {
    const { policy, role } = oneOf(graph, "aws:iam/rolePolicy:RolePolicy", "BackupAgentWeb").inputs;
    assert.equal(role, "BackupAgentWebRole");
    assert.deepEqual(rightsTable(graph, statementsOf(policy)), {
      "sqs:SendMessage": ["ingest"],
      "s3:PutObject": ["stage/stage/orders/*", "stage/stage/sessions/*"],
    });
    assert.deepEqual(oneOf(graph, "role", "BackupAgentWeb").inputs.inlinePolicies, undefined);
    // The other agent has a token, and no identity here.
    assert.deepEqual(
      graph.resources.filter(({ name }) => name.startsWith("BackupAgentShop")),
      [],
    );
  },
  "a sender is bound to its databases; the API has asked for a token": (graph: Graph) => {
    const senders = JSON.parse(variablesOf(graph, "BackupFanOut").PAGEFERRY_SENDERS ?? "");
    assert.deepEqual(Object.values(senders).sort(), ["*", ["orders", "sessions"]].sort());
    for (const id of Object.keys(senders)) assert.match(id, /^AROA[0-9A-F]{17}$/);
  },
} satisfies Readonly<Record<string, (graph: Graph) => void>>;

/** What every identity is allowed, inline or attached, by its name. */
function allStatements(graph: Graph): readonly (readonly [name: string, statement: Statement])[] {
  const inline = allOf(graph, "role").flatMap(({ name, inputs }) =>
    listOf(inputs.inlinePolicies as readonly { readonly policy: unknown }[]).map(({ policy }) => ({
      name,
      policy,
    })),
  );
  const attached = graph.resources
    .filter(({ type }) => /^aws:iam\/(rolePolicy|userPolicy|policy):/.test(type))
    .map(({ name, inputs }) => ({ name, policy: inputs.policy }));
  return [...inline, ...attached].flatMap(({ name, policy }) =>
    statementsOf(policy).map((statement) => [name, statement] as const),
  );
}

function sorted(rights: Readonly<Record<string, readonly string[]>>) {
  return Object.fromEntries(
    Object.entries(rights)
      .map(([action, resources]) => [action, [...resources].sort()] as const)
      .sort(([one], [other]) => (one < other ? -1 : 1)),
  );
}
