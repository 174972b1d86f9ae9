// Where an agent sends to: a host over HTTP, or an SQS queue with a bucket beside it for what no message holds.
// Nothing here repeats a URL, which may hold a password by mistake.

import { z } from "zod";
import { text } from "./config-replica.ts";
import { isPageferryError, PageferryError } from "./errors.ts";

/** An SQS queue, as its URL tells it. */
export interface SqsAddress {
  /** As SQS's API takes it. */
  readonly queueUrl: string;
  readonly region: string;
  /** A server that speaks SQS elsewhere than at AWS. */
  readonly endpoint?: string;
}

/** A bucket for staged bodies, as its URL tells it; keys begin with `stage/`. */
export interface StagingAddress {
  readonly bucket: string;
  /** Unless told: the queue's. */
  readonly region?: string;
  readonly endpoint?: string;
}

/** Where to send, as configured. */
export interface QueueConfig {
  /** A host (`https://…`), or an SQS queue by its own URL or as `sqs://<account>/<name>?region=…`. */
  readonly url: string;
  /** The bearer token of the host, or of `api`. */
  readonly token?: string;
  /** With SQS: `s3://<bucket>`, where bodies that no message holds are put down. */
  readonly staging?: string;
  /** With SQS: the URL of the API, which knows what is missing. Without it the agent runs without healing. */
  readonly api?: string;
  /** With SQS: the deploy stage that the messages are for; functions of another one refuse them. */
  readonly stage?: string;
}

/** The region stands before AWS's domains, and after `sqs`: `sqs.eu-west-1.amazonaws.com`, also of a VPC's endpoint. */
const sqsHostPattern =
  /(?:^|\.)sqs(?:-fips)?\.([a-z]+(?:-[a-z]+)+-\d+)\.(?:vpce\.)?(?:amazonaws\.(?:com|com\.cn|eu)|api\.aws)$/;

const accountPattern = /^\d{12}$/;
const queueNamePattern = /^[A-Za-z0-9_-]{1,80}$/;
const bucketPattern = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const regionPattern = /^[a-z0-9-]{1,32}$/;

/** Servers of one's own have no region, or take this one. */
const regionElsewhere = "us-east-1";

/**
 * Reads the URL of a queue; `undefined` is a host over HTTP. Errors: `bad-config`, for what is neither and for a FIFO
 * queue, whose messages would need a group each.
 */
export function parseQueueUrl(written: string): SqsAddress | undefined {
  const url = URL.parse(written);
  if (url?.protocol === "sqs:") return fromShortForm(url);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new PageferryError("bad-config", "an http://, https:// or sqs:// URL is expected");
  }
  const region = sqsHostPattern.exec(url.hostname)?.[1];
  if (region === undefined) return undefined;
  const [account = "", name = "", ...rest] = url.pathname.slice(1).split("/");
  checkPlain(url, []);
  checkQueue(account, name, rest.length > 0);
  return { queueUrl: `${url.origin}/${account}/${name}`, region };
}

function fromShortForm(url: URL): SqsAddress {
  const { region, endpoint } = placeOf(url);
  const [name = "", ...rest] = url.pathname.slice(1).split("/");
  checkQueue(url.host, name, rest.length > 0);
  if (endpoint !== undefined) {
    return { queueUrl: `${endpoint}/${url.host}/${name}`, region: region ?? regionElsewhere, endpoint };
  }
  if (region === undefined) {
    throw new PageferryError(
      "bad-config",
      "an sqs:// URL names its region: sqs://ACCOUNT/NAME?region=eu-west-1",
    );
  }
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  return { queueUrl: `https://sqs.${region}.${domain}/${url.host}/${name}`, region };
}

function checkQueue(account: string, name: string, hasMore: boolean): void {
  if (name.endsWith(".fifo")) {
    throw new PageferryError("bad-config", "a FIFO queue is not taken: a standard queue is expected");
  }
  if (!accountPattern.test(account) || !queueNamePattern.test(name) || hasMore) {
    throw new PageferryError(
      "bad-config",
      "an SQS URL ends with /ACCOUNT/NAME: twelve digits, and a queue's name",
    );
  }
}

/** Reads the URL of a bucket for staged bodies. Errors: `bad-config`. */
export function parseStagingUrl(written: string): StagingAddress {
  const url = URL.parse(written);
  if (url?.protocol !== "s3:" || !bucketPattern.test(url.host) || !/^\/?$/.test(url.pathname)) {
    throw new PageferryError(
      "bad-config",
      "s3://BUCKET is expected; its keys begin with stage/ by themselves",
    );
  }
  return { bucket: url.host, ...placeOf(url) };
}

function placeOf(url: URL): { readonly region?: string; readonly endpoint?: string } {
  checkPlain(url, ["region", "endpoint"]);
  const region = url.searchParams.get("region") || undefined;
  const written = url.searchParams.get("endpoint") || undefined;
  const endpoint = written === undefined ? undefined : URL.parse(written);
  if (endpoint !== undefined && (endpoint === null || !/^https?:$/.test(endpoint.protocol))) {
    throw new PageferryError("bad-config", "endpoint: an http:// or https:// URL is expected");
  }
  if (endpoint !== undefined) checkPlain(endpoint, []);
  if (region !== undefined && !regionPattern.test(region)) {
    throw new PageferryError("bad-config", "region: one such as eu-west-1 is expected");
  }
  return {
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined
      ? {}
      : { endpoint: `${endpoint.origin}${endpoint.pathname.replace(/\/+$/, "")}` }),
  };
}

function checkPlain(url: URL, known: readonly string[]): void {
  if (url.username !== "" || url.password !== "") {
    throw new PageferryError(
      "bad-config",
      "it holds a user or a password: credentials come by AWS's default chain, not in the URL",
    );
  }
  const unknown = [...url.searchParams.keys()].find((key) => !known.includes(key));
  if (unknown !== undefined || url.hash !== "") {
    const taken = known.length === 0 ? "nothing" : known.join(" and ");
    throw new PageferryError("bad-config", `it holds more than is known: ${taken} may follow the ?`);
  }
}

/** A text that one of the parsers above reads; its own words say what is wrong. */
function readBy(parse: (written: string) => unknown) {
  return text.superRefine((written, context) => {
    try {
      parse(written);
    } catch (error) {
      if (!isPageferryError(error)) throw error;
      context.addIssue({ code: "custom", message: error.message });
    }
  });
}

/** The keys of `queue`. */
export const queueShape = {
  url: readBy(parseQueueUrl),
  token: text.optional(),
  staging: readBy(parseStagingUrl).optional(),
  api: z.url({ protocol: /^https?$/, error: "an http:// or https:// URL is expected" }).optional(),
  stage: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,64}$/, { error: "a stage's name is letters, digits and dashes" })
    .optional(),
};

/** Says, one sentence each, which keys of `queue` exclude or need one another. */
export function queueContradictions(queue: QueueConfig): string[] {
  if (parseQueueUrl(queue.url) === undefined) {
    return (["staging", "api", "stage"] as const)
      .filter((key) => queue[key] !== undefined)
      .map((key) => `queue.${key} belongs to an SQS queue, and queue.url is a host`);
  }
  const found: string[] = [];
  if (queue.staging === undefined) {
    found.push(
      "queue.staging is missing: an SQS message holds 1 MiB, and every snapshot is put down in a bucket first; " +
        "add `staging: s3://BUCKET`",
    );
  }
  if (queue.token !== undefined && queue.api === undefined) {
    found.push("queue.token is for queue.api, which is missing: SQS itself takes AWS's credentials");
  }
  return found;
}
