// One function: what all have in common, and what is safer than SST's defaults.

import type { Deployment } from "./deployment.ts";
import { checkedVariables, type Variables } from "./environment.ts";
import type { Grant } from "./grants.ts";
import { bundleOf, type HandlerName, handlerEntry } from "./handlers.ts";
import { isPrivate } from "./replicas.ts";

export interface FunctionOptions {
  readonly handler: HandlerName;
  readonly description: string;
  readonly grants: readonly Grant[];
  readonly variables: Variables;
  readonly timeoutSeconds: number;
  readonly memoryMiB: number;
  /** Where databases are put together. Default 512, which cost nothing. */
  readonly diskMiB?: number;
  /** Reserved: no more run at once. */
  readonly concurrency?: number;
  readonly streaming?: boolean;
  readonly url?: sst.aws.FunctionArgs["url"];
}

/** By what alarms call them. */
export type Functions = Readonly<Record<string, sst.aws.Function>>;

export function createFunction(
  { name, args, child }: Deployment,
  suffix: string,
  options: FunctionOptions,
): sst.aws.Function {
  const functionName = `${name}${suffix}`;
  // Every function speaks to every replica, except lanes: for them it does no harm.
  const vpc = Object.values(args.replicas).some(isPrivate) ? args.vpc : undefined;
  return new sst.aws.Function(
    functionName,
    {
      bundle: bundleOf(options.handler, functionName, args.handlers),
      handler: handlerEntry,
      description: options.description,
      runtime: "nodejs24.x",
      architecture: "arm64",
      // With `sst dev` a laptop would take messages out of the queue.
      dev: false,
      timeout: `${options.timeoutSeconds} seconds`,
      memory: `${options.memoryMiB} MB`,
      storage: `${options.diskMiB ?? 512} MB`,
      permissions: [...options.grants],
      environment: checkedVariables(functionName, options.variables),
      transform: { role: trustLambdaAlone },
      ...(options.concurrency === undefined ? {} : { concurrency: { reserved: options.concurrency } }),
      ...(options.streaming === undefined ? {} : { streaming: options.streaming }),
      ...(options.url === undefined ? {} : { url: options.url }),
      ...(vpc === undefined ? {} : { vpc }),
    },
    child,
  );
}

/** SST lets every identity of the account that may assume roles take this one, too. */
function trustLambdaAlone(role: aws.iam.RoleArgs): undefined {
  role.assumeRolePolicy = aws.iam.assumeRolePolicyForPrincipal({ Service: "lambda.amazonaws.com" });
}
