// The answers of a cloud that is not there: plausible names, ARNs and ids for everything that is made, and policy documents as JSON, so
// that rights can be asserted.

import { createHash } from "node:crypto";
import type { MockResource } from "./platform.ts";

export const region = "eu-central-1";
export const account = "111122223333";

type Values = Record<string, unknown>;

/** What a resource has once it is made. */
export function stateOf({ type, name, inputs }: MockResource): { id: string; state: Values } {
  if (!type.startsWith("aws:"))
    return { id: `${name}-id`, state: { ...inputs, ...randomState(type, name, inputs) } };
  const called = String(inputs.name ?? inputs.bucket ?? inputs.functionName ?? name);
  const state: Values = {
    ...inputs,
    arn: arnOf(type, called),
    name: called,
    ...computed(type, name, called, inputs),
  };
  const id = type === "aws:sqs/queue:Queue" ? String(state.url) : called;
  return { id, state };
}

function arnOf(type: string, called: string): string {
  const [, module = "", kind = ""] = type.split(":");
  const [service = ""] = module.split("/");
  switch (service) {
    case "s3":
      return `arn:aws:s3:::${called}`;
    case "sqs":
      return `arn:aws:sqs:${region}:${account}:${called}`;
    case "iam":
      return `arn:aws:iam::${account}:${kind.toLowerCase()}/${called}`;
    case "lambda":
      return `arn:aws:lambda:${region}:${account}:function:${called}`;
    default:
      return `arn:aws:${service}:${region}:${account}:${kind.toLowerCase()}/${called}`;
  }
}

function computed(type: string, name: string, called: string, inputs: Values): Values {
  switch (type) {
    case "aws:sqs/queue:Queue":
      return { url: `https://sqs.${region}.amazonaws.com/${account}/${called}` };
    case "aws:s3/bucket:Bucket":
      return { bucket: called, region, bucketRegionalDomainName: `${called}.s3.${region}.amazonaws.com` };
    case "aws:lambda/function:Function":
      return { publish: inputs.publish ?? false, invokeArn: `${arnOf(type, called)}:invoke` };
    case "aws:lambda/functionUrl:FunctionUrl":
      return { functionUrl: `https://${digest(name, 12)}.lambda-url.${region}.on.aws/` };
    case "aws:iam/role:Role":
      return { uniqueId: `AROA${digest(name, 17).toUpperCase()}` };
    case "aws:iam/user:User":
      return { uniqueId: `AIDA${digest(name, 17).toUpperCase()}` };
    case "aws:iam/accessKey:AccessKey":
      return { secret: "a-secret-access-key" };
    case "aws:cloudfront/distribution:Distribution":
      return { domainName: `${digest(name, 13)}.cloudfront.net`, hostedZoneId: "Z2FDTNDATAQYW2" };
    case "aws:acm/certificate:Certificate":
      return {
        domainValidationOptions: [
          { resourceRecordName: "_a", resourceRecordType: "CNAME", resourceRecordValue: "_b" },
        ],
      };
    default:
      return {};
  }
}

function randomState(type: string, name: string, inputs: Values): Values {
  if (type !== "random:index/randomBytes:RandomBytes") return {};
  return { base64: createHash("sha256").update(name).digest("base64"), length: inputs.length };
}

/** What is only asked. An answer that nobody thought of is an error. */
export function answer({ token, inputs }: { token: string; inputs: Values }): Values {
  switch (token) {
    case "aws:index/getRegion:getRegion":
      return { name: region, region, id: region };
    case "aws:index/getPartition:getPartition":
      return { partition: "aws", dnsSuffix: "amazonaws.com", id: "aws" };
    case "aws:index/getCallerIdentity:getCallerIdentity":
      return { accountId: account, arn: `arn:aws:iam::${account}:root`, id: account };
    case "aws:iam/getPolicyDocument:getPolicyDocument":
      return {
        ...inputs,
        json: policyDocument(inputs.statements as readonly PolicyStatement[]),
        id: "policy",
      };
    case "aws:iam/getRole:getRole":
      return {
        ...inputs,
        arn: arnOf("aws:iam/role:Role", String(inputs.name)),
        uniqueId: "AROAEXISTINGROLE00001",
      };
    case "aws:cloudfront/getCachePolicy:getCachePolicy":
    case "aws:cloudfront/getOriginRequestPolicy:getOriginRequestPolicy":
    case "aws:route53/getZone:getZone":
      return { ...inputs, id: digest(token, 14), zoneId: digest(token, 14) };
    default:
      throw new Error(`no answer to ${token}`);
  }
}

interface PolicyStatement {
  readonly effect?: string;
  readonly actions?: readonly string[];
  readonly resources?: readonly string[];
  readonly principals?: readonly { readonly type: string; readonly identifiers: readonly string[] }[];
  readonly conditions?: readonly {
    readonly test: string;
    readonly variable: string;
    readonly values: readonly string[];
  }[];
}

function policyDocument(statements: readonly PolicyStatement[] = []): string {
  const rendered = statements.map(({ effect = "Allow", actions, resources, principals, conditions }) => ({
    Effect: effect,
    ...(principals === undefined ? {} : { Principal: principalOf(principals) }),
    Action: actions,
    ...(resources === undefined ? {} : { Resource: resources }),
    ...(conditions === undefined ? {} : { Condition: conditionOf(conditions) }),
  }));
  return JSON.stringify({ Version: "2012-10-17", Statement: rendered });
}

function principalOf(principals: NonNullable<PolicyStatement["principals"]>): unknown {
  if (principals.some(({ type }) => type === "*")) return "*";
  return Object.fromEntries(principals.map(({ type, identifiers }) => [type, identifiers]));
}

function conditionOf(conditions: NonNullable<PolicyStatement["conditions"]>): unknown {
  const tests = Object.groupBy(conditions, ({ test }) => test);
  return Object.fromEntries(
    Object.entries(tests).map(([test, ofTest = []]) => [
      test,
      Object.fromEntries(ofTest.map(({ variable, values }) => [variable, values])),
    ]),
  );
}

function digest(text: string, length: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, length);
}
