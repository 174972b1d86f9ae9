// Functions in this process as AWS calls them: events of a function URL whose answers are streamed, batches of a queue whose failures come
// again, and schedules. Handlers read their environment when they are imported, so a process has one deployment.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough, type Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message,
  PurgeQueueCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";

/** What AWS takes as one call, body and all. */
const eventBytesMax = 6 * 1024 * 1024;

/** What AWS streams as one answer. */
const answerBytesMax = 200 * 1000 * 1000;

interface Head {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies?: readonly string[];
}

type StreamedHandler = (event: unknown, output: Writable, context: unknown) => Promise<void>;

const heads = new WeakMap<Writable, (head: Head) => void>();

/** Puts what the runtime gives into this process, before a handler is imported. What it returns puts the environment back. */
export function becomeLambda(environment: Readonly<Record<string, string>>): () => void {
  const before = Object.keys(environment).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, environment);
  (globalThis as { awslambda?: unknown }).awslambda = {
    streamifyResponse: (handler: StreamedHandler) => handler,
    HttpResponseStream: {
      from(output: Writable, head: Head) {
        heads.get(output)?.(head);
        return output;
      },
    },
  };
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

/** What a handler is told of its invocation. */
export function contextFor(timeoutMs = 60_000) {
  const endMs = performance.now() + timeoutMs;
  return { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => endMs - performance.now() };
}

export interface FunctionUrl extends AsyncDisposable {
  readonly url: string;
}

/** Serves a function's URL. */
export async function serveFunctionUrl(handler: unknown): Promise<FunctionUrl> {
  const server = createServer((request, response) => {
    call(handler as StreamedHandler, request, response).catch((error: unknown) => {
      // As AWS does: what was begun is broken off, and of the rest nothing is told but that it failed.
      process.stderr.write(`a function failed: ${error instanceof Error ? error.stack : error}\n`);
      if (response.headersSent) response.destroy();
      else
        response
          .writeHead(502, { "x-test-error": String(error).replace(/\s+/g, " ") })
          .end("Internal Server Error");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function call(handler: StreamedHandler, request: IncomingMessage, response: ServerResponse) {
  const body = Buffer.concat(await Array.fromAsync(request)).toString("base64");
  if (body.length > eventBytesMax) {
    response.writeHead(413, { "content-type": "application/json" }).end('{"Message":null}');
    return;
  }
  const output = new PassThrough();
  heads.set(output, ({ statusCode, headers, cookies = [] }) => {
    // The answer comes in chunks, whatever its length is said to be.
    const { "content-length": _, connection: __, ...sent } = headers;
    response.writeHead(statusCode, { ...sent, ...(cookies.length > 0 && { "set-cookie": [...cookies] }) });
  });
  let bytes = 0;
  output.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > answerBytesMax) response.destroy();
    else response.write(chunk);
  });
  const ended = new Promise<void>((resolve, reject) => output.on("end", resolve).on("error", reject));
  await Promise.all([ended, handler(eventOf(request, body), output, contextFor())]);
  response.end();
}

/** What a function's URL makes of a request, whose body is in base64. */
export function eventOf(request: Pick<IncomingMessage, "method" | "url" | "headers">, body: string) {
  const [rawPath = "/", rawQueryString = ""] = (request.url ?? "/").split("?");
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(",") : value,
    ]),
  );
  return {
    ...{ version: "2.0", routeKey: "$default", rawPath, rawQueryString, headers },
    requestContext: {
      ...{ accountId: "anonymous", apiId: "test", domainName: "test.lambda-url.eu-central-1.on.aws" },
      ...{ domainPrefix: "test", requestId: crypto.randomUUID(), routeKey: "$default", stage: "$default" },
      ...{ time: new Date().toUTCString(), timeEpoch: Date.now() },
      http: {
        method: request.method,
        path: rawPath,
        protocol: "HTTP/1.1",
        sourceIp: "192.0.2.1",
        userAgent: "",
      },
    },
    ...(body === "" ? { isBase64Encoded: false } : { body, isBase64Encoded: true }),
  };
}

export interface PeekedMessage {
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface LocalQueues {
  make(name: string): Promise<string>;
  send(url: string, body: string, attributes?: Readonly<Record<string, string>>): Promise<void>;
  /** So many of the messages that wait, which stay. */
  peek(url: string, count: number): Promise<readonly PeekedMessage[]>;
  /** Takes at most ten, as a function is given them. */
  receive(url: string): Promise<readonly ReturnType<typeof recordOf>[]>;
  remove(url: string, record: { readonly receiptHandle: string }): Promise<void>;
  /** Removes what waits, taken or not. */
  clear(url: string): Promise<void>;
  /** How many messages are there, taken or not. */
  count(url: string): Promise<number>;
  /** Hands what waits to a handler until nothing does. A message that failed so often is left. Returns how many were done. */
  drain(url: string, handler: BatchHandler, triesMax?: number): Promise<number>;
}

type BatchHandler = (
  event: never,
  context: never,
) => Promise<{ readonly batchItemFailures: readonly { readonly itemIdentifier: string }[] }>;

/** Queues of a local AWS. */
export function localQueues(endpoint: string): LocalQueues {
  const credentials = { accessKeyId: "test", secretAccessKey: "test" };
  const client = new SQSClient({ endpoint, region: "us-east-1", credentials });
  const count = async (url: string): Promise<number> => {
    const { Attributes = {} } = await client.send(
      new GetQueueAttributesCommand({
        QueueUrl: url,
        AttributeNames: ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
      }),
    );
    const { ApproximateNumberOfMessages: there = 0, ApproximateNumberOfMessagesNotVisible: taken = 0 } =
      Attributes;
    return Number(there) + Number(taken);
  };
  const receive = async (url: string, VisibilityTimeout = 60) => {
    const { Messages = [] } = await client.send(
      new ReceiveMessageCommand({
        ...{ QueueUrl: url, MaxNumberOfMessages: 10, VisibilityTimeout },
        ...{ MessageSystemAttributeNames: ["All"], MessageAttributeNames: ["All"] },
      }),
    );
    return Messages.map((message) => recordOf(message, url));
  };
  return {
    count,
    async make(name) {
      const { QueueUrl = "" } = await client.send(new CreateQueueCommand({ QueueName: name }));
      return QueueUrl;
    },
    async send(url, body, attributes = {}) {
      const MessageAttributes = Object.fromEntries(
        Object.entries(attributes).map(([name, StringValue]) => [name, { DataType: "String", StringValue }]),
      );
      await client.send(new SendMessageCommand({ QueueUrl: url, MessageBody: body, MessageAttributes }));
    },
    async peek(url, wanted) {
      const found: PeekedMessage[] = [];
      const handles: string[] = [];
      for (let looks = 0; found.length < wanted && looks < 20; looks += 1) {
        const { Messages = [] } = await client.send(
          new ReceiveMessageCommand({
            QueueUrl: url,
            MaxNumberOfMessages: 10,
            MessageAttributeNames: ["All"],
          }),
        );
        for (const { Body = "", MessageAttributes = {}, ReceiptHandle = "" } of Messages) {
          const attributes = Object.entries(MessageAttributes).map(
            ([name, { StringValue = "" }]) => [name, StringValue] as const,
          );
          found.push({ body: Body, attributes: Object.fromEntries(attributes) });
          handles.push(ReceiptHandle);
        }
        if (Messages.length === 0) break;
      }
      for (const ReceiptHandle of handles)
        await client.send(
          new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle, VisibilityTimeout: 0 }),
        );
      return found;
    },
    receive,
    async remove(url, { receiptHandle }) {
      await client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: receiptHandle }));
    },
    async clear(url) {
      await client.send(new PurgeQueueCommand({ QueueUrl: url }));
    },
    async drain(url, handler, triesMax = 3) {
      let [done, failures] = [0, 0];
      while (failures < triesMax && (await count(url)) > 0) {
        const records = await receive(url, 2);
        const { batchItemFailures } =
          records.length === 0
            ? { batchItemFailures: [] }
            : await handler({ Records: records } as never, contextFor() as never);
        const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
        for (const { messageId, receiptHandle } of records) {
          if (failed.has(messageId)) continue;
          await client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: receiptHandle }));
          done += 1;
        }
        if (failed.size > 0) failures += 1;
        if (records.length === 0) await sleep(100);
      }
      return done;
    },
  };
}

function recordOf(message: Message, url: string) {
  const { MessageId = "", ReceiptHandle = "", Body = "", Attributes = {}, MessageAttributes = {} } = message;
  return {
    ...{ messageId: MessageId, receiptHandle: ReceiptHandle, body: Body, attributes: Attributes },
    messageAttributes: Object.fromEntries(
      Object.entries(MessageAttributes).map(([name, { DataType, StringValue }]) => [
        name,
        { dataType: DataType, stringValue: StringValue },
      ]),
    ),
    ...{ md5OfBody: "", eventSource: "aws:sqs", awsRegion: "us-east-1" },
    eventSourceARN: `arn:aws:sqs:us-east-1:000000000000:${url.slice(url.lastIndexOf("/") + 1)}`,
  };
}
