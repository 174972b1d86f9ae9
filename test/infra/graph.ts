// What an evaluated program would make: its resources with their inputs and options, and how they are found again.

/** One resource as it was registered. */
export interface Resource {
  readonly type: string;
  readonly name: string;
  readonly inputs: Inputs;
  readonly options: {
    readonly parent?: string | undefined;
    readonly protect?: boolean | undefined;
    readonly retainOnDelete?: boolean | undefined;
  };
}

export type Inputs = Readonly<Record<string, unknown>>;

/** A program, evaluated. */
export interface Graph {
  readonly app: {
    readonly name: string;
    readonly stage: string;
    readonly removal: string;
    readonly protect?: boolean;
  };
  readonly outputs: Readonly<Record<string, unknown>>;
  readonly resources: readonly Resource[];
  /** Every bundle that a function was made of, by the function's name. */
  readonly bundles: Readonly<
    Record<
      string,
      { readonly handler: string; readonly exports: readonly string[]; readonly files: readonly string[] }
    >
  >;
}

/** One statement of a policy document. */
export interface Statement {
  readonly Effect: string;
  readonly Principal?: unknown;
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}

const short: Readonly<Record<string, string>> = {
  queue: "aws:sqs/queue:Queue",
  bucket: "aws:s3/bucket:Bucket",
  function: "aws:lambda/function:Function",
  role: "aws:iam/role:Role",
};

/** All of a type: a word of `short`, or the whole name. */
export function allOf(graph: Graph, type: string): readonly Resource[] {
  const wanted = short[type] ?? type;
  return graph.resources.filter((resource) => resource.type === wanted);
}

/** The only one of a type whose name begins so. */
export function oneOf(graph: Graph, type: string, begins: string): Resource {
  const found = allOf(graph, type).filter((resource) => resource.name.startsWith(begins));
  const [resource] = found;
  if (resource === undefined || found.length > 1) {
    const names = allOf(graph, type).map(({ name }) => name);
    throw new Error(`${found.length} of ${type} begin with ${begins}; there are ${names.join(", ")}`);
  }
  return resource;
}

/** The statements of a policy document, whichever way it is written. */
export function statementsOf(policy: unknown): readonly Statement[] {
  const document = typeof policy === "string" ? JSON.parse(policy) : policy;
  return document.Statement.map((statement: Record<string, unknown>) => ({
    ...statement,
    Action: listOf(statement.Action),
    Resource: listOf(statement.Resource),
  }));
}

/** The inline statements of a function's role, such as `BackupFanOut`. */
export function rightsOf(graph: Graph, functionName: string): readonly Statement[] {
  const policies = oneOf(graph, "role", `${functionName}Role`).inputs.inlinePolicies;
  return listOf(policies).flatMap((one) => statementsOf((one as { readonly policy: unknown }).policy));
}

/** The variables of a function, such as `BackupFanOut`. */
export function variablesOf(graph: Graph, functionName: string): Readonly<Record<string, string>> {
  const environment = oneOf(graph, "function", `${functionName}Function`).inputs.environment;
  return (environment as { readonly variables: Record<string, string> }).variables;
}

/** A value or a list of them, as a list. */
export function listOf<Value>(value: Value | readonly Value[] | undefined): readonly Value[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value as Value];
}
