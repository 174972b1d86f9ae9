// Contradictions in what a team declared, found before anything is made. Pure: the same arguments give the same sentences.

import type { PageferryArgs } from "./args.ts";
import { isPrivate, type Replica, replicaHosts, replicaLabel } from "./replicas.ts";

/** Names that resources are called by: a queue's name has 80 characters, with app and stage. */
const shortName = /^[A-Za-z][A-Za-z0-9]{0,19}$/;
const databaseName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** AWS takes no less for an event source. */
const concurrencyMin = 2;

/** Throws one error that names everything that is wrong. */
export function checkArgs(name: string, args: PageferryArgs): void {
  const problems = [
    ...(shortName.test(name) ? [] : [`the name ${JSON.stringify(name)} is not 1 to 20 letters and digits`]),
    ...databaseProblems(args),
    ...replicaProblems(args),
    ...agentProblems(args),
    ...concurrencyProblems(args),
  ];
  if (problems.length > 0) throw new Error(`Pageferry ${name}: ${problems.join("; ")}`);
}

function databaseProblems({ databases }: PageferryArgs): readonly string[] {
  if (databases.length === 0) return ["databases: none is named"];
  return [
    ...databases
      .filter((database) => !databaseName.test(database))
      .map(
        (database) =>
          `databases: ${JSON.stringify(database)} is not a name: letters, digits, . _ -, 64 at most`,
      ),
    ...repeated(databases).map((database) => `databases: ${database} is named twice`),
  ];
}

function replicaProblems(args: PageferryArgs): readonly string[] {
  const entries = Object.entries(args.replicas);
  if (entries.length === 0) return ["replicas: none is declared"];
  const labels = entries
    .filter(([, replica]) => replica.type !== "s3" || replica.bucket !== undefined)
    .map(([, replica]) => replicaLabel(replica));
  return [
    ...entries
      .flatMap(([key, replica]) => oneReplica(key, replica, args))
      .map((problem) => `replicas.${problem}`),
    ...repeated(labels).map((label) => `replicas: ${label} is declared twice`),
  ];
}

function oneReplica(key: string, replica: Replica, args: PageferryArgs): readonly string[] {
  // From JavaScript, or through `as`: the types know no such replica.
  const { type } = replica as { readonly type: string };
  if (type !== "s3" && type !== "nats" && type !== "sftp") {
    const why = type === "file" ? "the disk of a function is gone when it ends" : "nobody knows this type";
    return [`${key}: a ${type} replica is refused: ${why}; use s3, nats or sftp`];
  }
  const problems: string[] = [];
  if (!shortName.test(key)) problems.push(`${key}: is not 1 to 20 letters and digits`);
  if (replicaHosts(replica).some((host) => host.includes("$")))
    problems.push(`${key}: its host is written out; only user, password and keys come from secrets`);
  if (isPrivate(replica) && args.vpc === undefined)
    problems.push(`${key}: ${replicaLabel(replica)} is in a private network: give the deployment its vpc`);
  for (const secret of secretsIn(replica)) {
    if (args.secrets?.[secret] === undefined) problems.push(`${key}: \${${secret}} is none of the secrets`);
  }
  if (replica.type === "s3") problems.push(...s3Problems(key, replica.bucket, replica));
  return problems;
}

function s3Problems(key: string, bucket: string | undefined, replica: Replica): readonly string[] {
  if (replica.type !== "s3") return [];
  const made = ["objectLock", "deletedVersionDays"] as const;
  return [
    ...(replica.endpoint !== undefined && bucket === undefined
      ? [`${key}: a bucket of another service is not made here: name it`]
      : []),
    ...(replica.endpoint !== undefined && (replica.accessKey === undefined || replica.secretKey === undefined)
      ? [`${key}: another service takes accessKey and secretKey`]
      : []),
    ...made
      .filter((option) => bucket !== undefined && replica[option] !== undefined)
      .map((option) => `${key}: ${option} is for a bucket that is made here; ${bucket} is there`),
  ];
}

function secretsIn(replica: Replica): readonly string[] {
  const texts = Object.values(replica).filter((value) => typeof value === "string");
  return texts.flatMap((text) =>
    [...text.matchAll(/(?<!\$)\$\{([A-Z_][A-Z0-9_]*)\}/gi)].map(([, name = ""]) => name),
  );
}

function agentProblems({ agents = {}, databases }: PageferryArgs): readonly string[] {
  return Object.entries(agents).flatMap(([key, agent]) => [
    ...(shortName.test(key) ? [] : [`agents.${key}: is not 1 to 20 letters and digits`]),
    ...(agent.databases.length === 0 ? [`agents.${key}: no database is named`] : []),
    ...agent.databases
      .filter((database) => !databases.includes(database))
      .map((database) => `agents.${key}: ${database} is none of the databases`),
  ]);
}

function concurrencyProblems({ concurrency = {} }: PageferryArgs): readonly string[] {
  return (["fanOut", "lane"] as const)
    .filter((key) => (concurrency[key] ?? concurrencyMin) < concurrencyMin)
    .map((key) => `concurrency.${key}: ${concurrency[key]} is less than ${concurrencyMin}`);
}

function repeated(values: readonly string[]): readonly string[] {
  return [...new Set(values.filter((value, at) => values.indexOf(value) !== at))];
}
