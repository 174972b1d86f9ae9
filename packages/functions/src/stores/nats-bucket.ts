// A JetStream object store's bucket as a stream of messages: $O.<bucket>.C.<nuid> holds an object's chunks, and
// $O.<bucket>.M.<name> its one description. Asked directly instead of through the library's object store, because
// only so a description can be published on the condition that nobody else published one: write-once without a race.

import { PageferryError } from "@pageferry/format";
import { untilAborted } from "../deadline.ts";
import { type ApiError, apiErrors, fromApi } from "./nats-errors.ts";
import { connectNats, type LinkOptions, type NatsLink, type NatsReply } from "./nats-link.ts";
import { faultOf, type StreamInfo } from "./nats-stream.ts";

/** A message as the stream keeps it. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly data: Uint8Array;
  /** When the server stored it. */
  readonly time: string;
  /** Where this chunk begins in its object; undefined for chunks of other programs. */
  readonly offset: number | undefined;
}

/** Some messages in the order of the stream, and how many more the server said there are; undefined: it did not say. */
export interface Batch {
  readonly messages: readonly StoredMessage[];
  readonly pending: number | undefined;
}

export interface NextOptions {
  readonly limit?: number;
  /** About as much as an answer may hold. */
  readonly bytesMax?: number;
  readonly ofLeader?: boolean;
}

export interface BucketOptions extends LinkOptions {
  readonly bucket: string;
  readonly createBucket: boolean;
}

/** The header that our chunks carry beside those of JetStream. Other programs do not look at it. */
export const offsetHeader = "Pageferry-Offset";

export interface Bucket {
  readonly name: string;
  readonly where: string;
  /** The largest message that may be published, headers included. */
  messageMax(signal?: AbortSignal): Promise<number>;
  /** Servers that hold a copy before an answer comes. */
  copies(signal?: AbortSignal): Promise<number>;
  /** Publishes; undefined if the condition in the headers does not hold any more. Errors: `disk-full`, and all of `fromApi`. */
  publish(
    subject: string,
    data: Uint8Array | string,
    headers: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<number | undefined>;
  /** The newest message under a subject, asked of the server that decides; undefined if there is none. */
  last(subject: string, signal?: AbortSignal): Promise<StoredMessage | undefined>;
  /**
   * Some messages under `filter` from a sequence on, at least one if there is any. Followers and mirrors answer too: they
   * may lag, and lack what is new. With `ofLeader` one message, from the server that decides.
   */
  next(filter: string, from: number, options: NextOptions, signal?: AbortSignal): Promise<Batch>;
  /** Whether `next` gives many messages for one request: else each costs a way there and back. */
  canBatch(signal?: AbortSignal): Promise<boolean>;
  /** Removes the messages under a subject; with `below` only those whose sequence is lower. */
  purge(subject: string, below: number | undefined, signal?: AbortSignal): Promise<void>;
  /** The subjects under `filter` that have messages, and the server's clock in milliseconds. */
  subjects(
    filter: string,
    signal?: AbortSignal,
  ): Promise<{ readonly names: readonly string[]; readonly nowMs: number }>;
  /** For good: every call afterwards, and what it would have connected for, is `unavailable`. */
  close(): Promise<void>;
}

/** What is known of a bucket since the connection was made. */
interface Facts {
  readonly messageMax: number;
  readonly isDirect: boolean;
  /** Servers that hold a copy before an answer comes. */
  readonly copies: number;
}

interface Context {
  readonly options: BucketOptions;
  readonly stream: string;
  connecting: Promise<NatsLink> | undefined;
  inspecting: { readonly link: NatsLink; readonly facts: Promise<Facts> } | undefined;
  /** Where to begin among several servers: the one that answered last. */
  firstServer: number;
  isClosed: boolean;
}

/** Nothing is connected before the first call, and a connection that was lost is made anew by the next one. */
export function openBucket(options: BucketOptions): Bucket {
  const context: Context = {
    options,
    stream: `OBJ_${options.bucket}`,
    connecting: undefined,
    inspecting: undefined,
    firstServer: 0,
    isClosed: false,
  };
  return {
    name: options.bucket,
    where: options.where,
    messageMax: async (signal) => (await opened(context, signal)).messageMax,
    copies: async (signal) => (await opened(context, signal)).copies,
    publish: (subject, data, headers, signal) => publish(context, subject, data, headers, signal),
    last: (subject, signal) => getMessage(context, { last_by_subj: subject }, signal),
    next: (filter, from, options, signal) => next(context, filter, from, options, signal),
    async canBatch(signal) {
      const { link, isDirect } = await opened(context, signal);
      return isDirect && link.canBatch;
    },
    async purge(subject, below, signal) {
      const bound = below === undefined ? {} : { seq: below };
      await api(context, "STREAM.PURGE", { filter: subject, ...bound }, signal);
    },
    subjects: (filter, signal) => subjects(context, filter, signal),
    async close() {
      context.isClosed = true;
      const { connecting } = context;
      context.connecting = undefined;
      const link = await connecting?.catch(() => undefined);
      await link?.close();
    },
  };
}

/** The connection and the bucket behind it, which exists and is one that may be trusted with a backup. */
async function opened(
  context: Context,
  signal: AbortSignal | undefined,
): Promise<Facts & { readonly link: NatsLink }> {
  signal?.throwIfAborted();
  const link = await connected(context, signal);
  let { inspecting } = context;
  if (inspecting?.link !== link) {
    const made = { link, facts: inspect(context, link) };
    inspecting = made;
    context.inspecting = made;
    made.facts.catch(() => {
      if (context.inspecting === made) context.inspecting = undefined;
    });
  }
  return { link, ...(await untilAborted(inspecting.facts, signal)) };
}

async function connected(context: Context, signal: AbortSignal | undefined): Promise<NatsLink> {
  const { connecting } = context;
  if (connecting !== undefined) {
    const link = await untilAborted(connecting, signal);
    if (!link.isClosed()) return link;
  }
  if (context.isClosed) throw closedError(context);
  // Of several calls that see the same lost connection the first makes the new one.
  if (context.connecting === connecting || context.connecting === undefined) {
    const made = connectOnce(context);
    context.connecting = made;
    made.catch(() => {
      if (context.connecting === made) context.connecting = undefined;
    });
  }
  return untilAborted(context.connecting, signal);
}

function closedError({ options }: Context): PageferryError {
  return new PageferryError("unavailable", `${options.where}: the store is closed`);
}

async function connectOnce(context: Context): Promise<NatsLink> {
  const { options } = context;
  const first = context.firstServer;
  const link = await connectNats({
    ...options,
    servers: [...options.servers.slice(first), ...options.servers.slice(0, first)],
    onServer: (server) => {
      context.firstServer = Math.max(0, options.servers.indexOf(server));
    },
  });
  if (!context.isClosed) return link;
  await link.close();
  throw closedError(context);
}

async function inspect(context: Context, link: NatsLink): Promise<Facts> {
  const { bucket, where } = context.options;
  const { config } = await ensureStream(context, link);
  const fault = faultOf(config);
  if (fault !== undefined) {
    throw new PageferryError("bad-config", `${where}: the stream of bucket ${bucket} ${fault}`, {
      hint: `Make the bucket as an object store without a TTL: "nats object add ${bucket}", or createBucket: true.`,
    });
  }
  const sizes = [link.maxPayload, config.max_msg_size ?? -1].filter((size) => size > 0);
  return {
    messageMax: Math.min(...sizes, Number.MAX_SAFE_INTEGER),
    isDirect: config.allow_direct === true,
    copies: config.num_replicas ?? 1,
  };
}

/** Looks for the bucket's stream; makes it if that was asked for. */
async function ensureStream(context: Context, link: NatsLink): Promise<StreamInfo> {
  const { bucket, where, createBucket } = context.options;
  const ask = async (verb: string, body: object) => {
    const reply = await link.ask(`$JS.API.STREAM.${verb}.${context.stream}`, JSON.stringify(body));
    return answerOf<StreamInfo>(reply);
  };
  let answer = await ask("INFO", {});
  if (answer.error?.err_code === apiErrors.noStream && createBucket) {
    answer = await ask("CREATE", {
      name: context.stream,
      description: "pageferry",
      subjects: [`$O.${bucket}.C.>`, `$O.${bucket}.M.>`],
      storage: "file",
      retention: "limits",
      discard: "new",
      num_replicas: 1,
      max_msgs: -1,
      max_bytes: -1,
      max_age: 0,
      max_msg_size: -1,
      max_consumers: -1,
      max_msgs_per_subject: -1,
      allow_direct: true,
      allow_rollup_hdrs: true,
    });
  }
  if (answer.error !== undefined) throw fromApi(answer.error, where, bucket);
  return answer;
}

function answerOf<Answer>(reply: NatsReply): Answer & { readonly error?: ApiError } {
  const text = new TextDecoder().decode(reply.data);
  try {
    return JSON.parse(text) as Answer & { readonly error?: ApiError };
  } catch (cause) {
    throw new PageferryError("unavailable", `an answer of JetStream is no JSON: ${text.slice(0, 80)}`, {
      cause,
    });
  }
}

/** Asks JetStream's API. An error that `wanted` lists comes back as undefined; any other is thrown. */
async function api<Answer>(
  context: Context,
  verb: string,
  body: object,
  signal: AbortSignal | undefined,
  wanted: readonly number[] = [],
): Promise<Answer | undefined> {
  const { link } = await opened(context, signal);
  const subject = `$JS.API.${verb}.${context.stream}`;
  const answer = answerOf<Answer>(await link.ask(subject, JSON.stringify(body), { signal }));
  if (answer.error === undefined) return answer;
  if (wanted.includes(answer.error.err_code ?? 0)) return undefined;
  throw failed(context, answer.error);
}

function failed(context: Context, error: ApiError): PageferryError {
  // The bucket went while we were connected: the next call looks for it again, and makes it where it may.
  if (error.err_code === apiErrors.noStream) context.inspecting = undefined;
  return fromApi(error, context.options.where, context.options.bucket);
}

/** Where nobody listens on the bucket's subjects, the bucket is gone or JetStream is not up: says which. */
async function explained<Result>(context: Context, ask: () => Promise<Result>): Promise<Result> {
  try {
    return await ask();
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as { readonly code?: unknown };
    // What was on its way while the bucket was deleted is never answered: the next call looks.
    if (code === "503" || code === "TIMEOUT") context.inspecting = undefined;
    if (code === "503") await opened(context, undefined);
    throw error;
  }
}

async function publish(
  context: Context,
  subject: string,
  data: Uint8Array | string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const { link } = await opened(context, signal);
  const reply = await explained(context, () => link.ask(subject, data, { headers, signal }));
  const answer = answerOf<{ readonly seq: number }>(reply);
  if (answer.error === undefined) return answer.seq;
  if (apiErrors.wrongLastSequence.includes(answer.error.err_code ?? 0)) return undefined;
  throw failed(context, answer.error);
}

/** Asks the stream's leader, which knows all that was acknowledged. */
async function getMessage(
  context: Context,
  request: object,
  signal: AbortSignal | undefined,
): Promise<StoredMessage | undefined> {
  interface Answer {
    readonly message: {
      readonly subject: string;
      readonly seq: number;
      readonly data?: string;
      readonly hdrs?: string;
      readonly time: string;
    };
  }
  const answer = await api<Answer>(context, "STREAM.MSG.GET", request, signal, [apiErrors.noMessage]);
  if (answer === undefined) return undefined;
  const { subject, seq: sequence, data = "", hdrs = "", time } = answer.message;
  const headers = Buffer.from(hdrs, "base64").toString("latin1");
  const offset = new RegExp(`^${offsetHeader}: *(\\d+)\\r?$`, "m").exec(headers)?.[1];
  return { subject, sequence, data: Buffer.from(data, "base64"), time, offset: offsetOf(offset) };
}

function offsetOf(text: string | undefined): number | undefined {
  return text === undefined || text === "" ? undefined : Number(text);
}

async function next(
  context: Context,
  filter: string,
  from: number,
  { limit = 1, bytesMax = 0, ofLeader = false }: NextOptions,
  signal: AbortSignal | undefined,
): Promise<Batch> {
  const { link, isDirect } = await opened(context, signal);
  const request = { seq: from, next_by_subj: filter };
  if (isDirect && !ofLeader) {
    const subject = `$JS.API.DIRECT.GET.${context.stream}`;
    const batch = JSON.stringify({ ...request, batch: limit, max_bytes: bytesMax });
    const replies = await explained(context, async () =>
      link.canBatch
        ? await link.askMany(subject, batch, { signal })
        : [await link.ask(subject, JSON.stringify(request), { signal })],
    );
    const messages = replies.filter(({ status }) => status === 0).map(messageOf);
    // A follower that lags says "not found" as the end does: ask the leader.
    if (messages.length > 0) return { messages, pending: pendingAfter(replies.at(-1)) };
  }
  const message = await getMessage(context, request, signal);
  return { messages: message === undefined ? [] : [message], pending: undefined };
}

function pendingAfter(end: NatsReply | undefined): number | undefined {
  const text = end?.status === 204 ? end.header("Nats-Num-Pending") : "";
  return text === "" ? undefined : Number(text);
}

function messageOf(reply: NatsReply): StoredMessage {
  return {
    subject: reply.header("Nats-Subject"),
    sequence: Number(reply.header("Nats-Sequence")),
    data: reply.data,
    time: reply.header("Nats-Time-Stamp"),
    offset: offsetOf(reply.header(offsetHeader)),
  };
}

async function subjects(
  context: Context,
  filter: string,
  signal: AbortSignal | undefined,
): Promise<{ readonly names: readonly string[]; readonly nowMs: number }> {
  const names = new Set<string>();
  for (let offset = 0; ; ) {
    const body = { subjects_filter: filter, offset };
    const info = await api<StreamInfo>(context, "STREAM.INFO", body, signal);
    const page = Object.keys(info?.state.subjects ?? {});
    for (const name of page) names.add(name);
    offset += page.length;
    if (page.length === 0 || offset >= (info?.total ?? 0)) {
      return { names: [...names], nowMs: Date.parse(info?.ts ?? "") };
    }
  }
}
