// What AWS and Pulumi's provider for it do to inputs before anything is made: a name for what the program did not name, and a refusal
// of names and documents that AWS would not take. Of the types that a deployment of ours has.

import { createHash } from "node:crypto";
import type { Values } from "./grpc.ts";

/** How a value is written that is not known before something else is made. */
export const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

interface Naming {
  readonly property: string;
  readonly pattern: RegExp;
}

const namings: Readonly<Record<string, Naming>> = {
  "aws:cloudwatch/logGroup:LogGroup": { property: "name", pattern: /^[\w./#-]{1,512}$/ },
  "aws:cloudwatch/logMetricFilter:LogMetricFilter": { property: "name", pattern: /^[^:*]{1,512}$/ },
  "aws:cloudwatch/metricAlarm:MetricAlarm": { property: "name", pattern: /^.{1,255}$/ },
  "aws:iam/instanceProfile:InstanceProfile": { property: "name", pattern: /^[\w+=,.@-]{1,128}$/ },
  "aws:iam/role:Role": { property: "name", pattern: /^[\w+=,.@-]{1,64}$/ },
  "aws:iam/rolePolicy:RolePolicy": { property: "name", pattern: /^[\w+=,.@-]{1,128}$/ },
  "aws:iam/user:User": { property: "name", pattern: /^[\w+=,.@-]{1,64}$/ },
  "aws:lambda/function:Function": { property: "name", pattern: /^[\w-]{1,64}$/ },
  "aws:s3/bucket:Bucket": { property: "bucket", pattern: /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/ },
  "aws:scheduler/schedule:Schedule": { property: "name", pattern: /^[\w.-]{1,64}$/ },
  "aws:sqs/queue:Queue": { property: "name", pattern: /^[\w-]{1,80}$/ },
};

/** The property whose change makes another resource. */
export function namingProperty(type: string): string | undefined {
  return namings[type]?.property;
}

/** Inputs with a name: the one that is given, the one that it had, or its name in the program and seven digits. */
export function named(type: string, name: string, inputs: Values, olds: Values, seed: Uint8Array): Values {
  const property = namings[type]?.property;
  if (property === undefined || inputs[property] !== undefined) return inputs;
  const digits = createHash("sha256").update(name).update(seed).digest("hex").slice(0, 7);
  const given = type === "aws:s3/bucket:Bucket" ? name.toLowerCase() : name;
  return { ...inputs, [property]: olds[property] ?? `${given}-${digits}` };
}

export interface Refusal {
  readonly property: string;
  readonly reason: string;
}

/** What AWS would refuse. */
export function refusals(type: string, inputs: Values): readonly Refusal[] {
  return [
    ...[...misnamed(type, inputs), ...tooLong(type, inputs)],
    ...[...malformedDocuments(inputs), ...notWaitedFor(inputs)],
  ];
}

function misnamed(type: string, inputs: Values): readonly Refusal[] {
  const naming = namings[type];
  if (naming === undefined) return [];
  const name = inputs[naming.property];
  if (typeof name === "string" && (name === unknown || naming.pattern.test(name))) return [];
  return [{ property: naming.property, reason: `${JSON.stringify(name)} is not ${naming.pattern.source}` }];
}

/** Characters that AWS takes, by type and property. */
const charactersMax: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "aws:cloudwatch/metricAlarm:MetricAlarm": { alarmDescription: 1024, metricName: 255 },
  "aws:iam/role:Role": { assumeRolePolicy: 2048, description: 1000 },
  "aws:lambda/function:Function": { description: 256, handler: 128 },
  "aws:s3/bucketPolicy:BucketPolicy": { policy: 20_480 },
};
/** Of all of a role's own policies together, white space aside. */
const inlineCharactersMax = 10_240;

function tooLong(type: string, inputs: Values): readonly Refusal[] {
  const alone = Object.entries(charactersMax[type] ?? {}).flatMap(([property, max]) => {
    const length = compact(inputs[property]).length;
    return length <= max ? [] : [{ property, reason: `${length} characters, and AWS takes ${max}` }];
  });
  const { inlinePolicies } = inputs;
  const inline = (Array.isArray(inlinePolicies) ? inlinePolicies : [])
    .map(({ policy }: { readonly policy?: unknown }) => compact(policy).length)
    .reduce((sum, length) => sum + length, 0);
  if (inline <= inlineCharactersMax) return alone;
  const reason = `${inline} characters, and AWS takes ${inlineCharactersMax}`;
  return [...alone, { property: "inlinePolicies", reason }];
}

function compact(text: unknown): string {
  return typeof text === "string" ? text.replaceAll(/\s/g, "") : "";
}

/** What Pulumi writes where a program made a text of an output: an explanation. */
const explanation = "Calling [toString] on an [Output<T>]";

function notWaitedFor(inputs: Values): readonly Refusal[] {
  return Object.entries(inputs)
    .filter(([, value]) => JSON.stringify(value).includes(explanation))
    .map(([property]) => ({ property, reason: "an output as a text" }));
}

function malformedDocuments(inputs: Values): readonly Refusal[] {
  return ["policy", "assumeRolePolicy"].flatMap((property) => {
    const document = inputs[property];
    if (document === undefined || document === unknown) return [];
    const text = typeof document === "string" ? document : JSON.stringify(document);
    if (isPolicy(text)) return [];
    return [{ property, reason: `not a policy: ${text.slice(0, 200)}` }];
  });
}

function isPolicy(text: string): boolean {
  try {
    return Array.isArray(JSON.parse(text).Statement);
  } catch {
    return false;
  }
}
