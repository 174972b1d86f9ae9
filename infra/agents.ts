// Who may send. An agent's identity can add to its own databases and nothing else: it cannot read, list, alter or delete. Its
// unique id is bound to its databases, so that a host that was taken over poisons no history but its own.

import type { Agent, AgentIdentity } from "./args.ts";
import { capital, type Deployment } from "./deployment.ts";
import type { Queues } from "./queue.ts";
import type { Storage } from "./storage.ts";

/** Of credentials from a certificate: an agent asks for new ones before. */
const sessionSeconds = 3600;

/** What a host is set up with, by the kind of its identity. */
export interface AgentAccess {
  readonly databases: readonly string[];
  /** The ARN of its role. */
  readonly role?: $util.Output<string>;
  /** The name of the profile that an instance is started with. */
  readonly instanceProfile?: $util.Output<string>;
  /** The ARN of the profile in Roles Anywhere. */
  readonly rolesAnywhereProfile?: $util.Output<string>;
  readonly accessKeyId?: $util.Output<string>;
  readonly secretAccessKey?: $util.Output<string>;
}

export interface Agents {
  readonly access: Readonly<Record<string, AgentAccess>>;
  /** Unique ids and what each may add to. */
  readonly senders: readonly Sender[];
}

export interface Sender {
  readonly uniqueId: $util.Output<string>;
  readonly databases: readonly string[] | "*";
}

export function createAgents(deployment: Deployment, storage: Storage, queues: Queues): Agents {
  const made = Object.entries(deployment.args.agents ?? {}).map(([key, agent]) => {
    const who = createIdentity(`${deployment.name}Agent${capital(key)}`, agent.identity, deployment);
    if (who.attach !== undefined) {
      // One document for a role and a user alike.
      const policy = policyOf(agent, storage, queues, deployment);
      who.attach(`${deployment.name}Agent${capital(key)}Policy`, policy);
    }
    return { key, agent, who };
  });
  return {
    access: Object.fromEntries(
      made.map(({ key, agent, who }) => [key, { databases: agent.databases, ...who.access }]),
    ),
    senders: made.flatMap(({ agent, who }) =>
      who.uniqueId === undefined ? [] : [{ uniqueId: who.uniqueId, databases: agent.databases }],
    ),
  };
}

/** `{unique id: databases}` for fan-out. */
export function sendersJson(senders: readonly Sender[]): $util.Output<string> {
  return $output(senders.map(({ uniqueId, databases }) => ({ uniqueId, databases }))).apply((known) =>
    JSON.stringify(Object.fromEntries(known.map(({ uniqueId, databases }) => [uniqueId, databases]))),
  );
}

function policyOf(agent: Agent, { stage }: Storage, { ingest }: Queues, { child }: Deployment) {
  return aws.iam.getPolicyDocumentOutput(
    {
      statements: [
        { actions: ["sqs:SendMessage"], resources: [ingest.arn] },
        {
          actions: ["s3:PutObject"],
          resources: agent.databases.map((database) => $interpolate`${stage.arn}/stage/${database}/*`),
        },
      ],
    },
    child,
  ).json;
}

interface Identity {
  readonly access: Omit<AgentAccess, "databases">;
  readonly uniqueId?: $util.Output<string>;
  readonly attach?: (name: string, policy: $util.Output<string>) => void;
}

function createIdentity(name: string, identity: AgentIdentity, { child }: Deployment): Identity {
  switch (identity.type) {
    case "token":
      return { access: {} };
    case "static-key": {
      const user = new aws.iam.User(`${name}User`, {}, child);
      const key = new aws.iam.AccessKey(`${name}Key`, { user: user.name }, child);
      return {
        access: { accessKeyId: key.id, secretAccessKey: $util.secret(key.secret) },
        uniqueId: user.uniqueId,
        attach: (policyName, policy) =>
          new aws.iam.UserPolicy(policyName, { user: user.name, policy }, child),
      };
    }
    case "existing-role": {
      const role = aws.iam.getRoleOutput({ name: identity.role }, child);
      return { access: { role: role.arn }, uniqueId: role.uniqueId, attach: toRole(role.name, child) };
    }
    default:
      return createRole(name, identity, child);
  }
}

type RoleIdentity = Extract<AgentIdentity, { readonly type: "instance-role" | "roles-anywhere" | "oidc" }>;

function createRole(name: string, identity: RoleIdentity, child: Deployment["child"]): Identity {
  const role = new aws.iam.Role(
    `${name}Role`,
    {
      assumeRolePolicy: aws.iam.getPolicyDocumentOutput({ statements: [trustOf(identity)] }, child).json,
      maxSessionDuration: sessionSeconds,
    },
    child,
  );
  const access = {
    role: role.arn,
    ...(identity.type === "instance-role"
      ? { instanceProfile: new aws.iam.InstanceProfile(`${name}Profile`, { role: role.name }, child).name }
      : {}),
    ...(identity.type === "roles-anywhere"
      ? {
          rolesAnywhereProfile: new aws.rolesanywhere.Profile(
            `${name}Profile`,
            { enabled: true, roleArns: [role.arn], durationSeconds: sessionSeconds },
            child,
          ).arn,
        }
      : {}),
  };
  return { access, uniqueId: role.uniqueId, attach: toRole(role.name, child) };
}

/** Who may become the role: one service, and where it serves many, one subject of it. */
function trustOf(identity: RoleIdentity): aws.types.input.iam.GetPolicyDocumentStatementArgs {
  switch (identity.type) {
    case "instance-role":
      return {
        actions: ["sts:AssumeRole"],
        principals: [{ type: "Service", identifiers: ["ec2.amazonaws.com"] }],
      };
    case "roles-anywhere":
      return {
        actions: ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
        principals: [{ type: "Service", identifiers: ["rolesanywhere.amazonaws.com"] }],
        conditions: [
          { test: "ArnEquals", variable: "aws:SourceArn", values: [identity.trustAnchor] },
          {
            test: "StringEquals",
            variable: "aws:PrincipalTag/x509Subject/CN",
            values: [identity.commonName],
          },
        ],
      };
    case "oidc": {
      const issuer = identity.provider.replace(/^.*:oidc-provider\//, "");
      return {
        actions: ["sts:AssumeRoleWithWebIdentity"],
        principals: [{ type: "Federated", identifiers: [identity.provider] }],
        conditions: [
          { test: "StringEquals", variable: `${issuer}:aud`, values: [identity.audience] },
          { test: "StringEquals", variable: `${issuer}:sub`, values: [identity.subject] },
        ],
      };
    }
  }
}

function toRole(role: $util.Output<string>, child: Deployment["child"]): NonNullable<Identity["attach"]> {
  return (name, policy) => new aws.iam.RolePolicy(name, { role, policy }, child);
}
