// A proxy between agent and host that remembers what was acknowledged: the promise begins there.
import { createHash } from "node:crypto";
import { createServer, request } from "node:http";
import { decodeEnvelope, type EnvelopeItem } from "@pageferry/format";

export interface QueueProxy extends AsyncDisposable {
  readonly url: string;
  /** The names of all items of envelopes that the host answered with a 2xx. */
  readonly acknowledged: ReadonlySet<string>;
  /** When each was acknowledged first, by the system's monotonic clock, ns. */
  readonly acknowledgedAtNs: ReadonlyMap<string, bigint>;
  /** SHA-256 of all bodies that were sent on under a name, whatever was answered. */
  readonly sent: ReadonlyMap<string, ReadonlySet<string>>;
  /** Bytes of all bodies of requests that got through. */
  readonly sentBytes: number;
  /** While set, no request gets through: the host is away. */
  away: boolean;
  /** Statuses of answers, and how often each came. */
  readonly statuses: ReadonlyMap<number, number>;
}

function digestOf(item: EnvelopeItem): string {
  return "digest" in item ? item.digest : createHash("sha256").update(item.bytes).digest("hex");
}

/** Starts a proxy to `target` on `port`. */
export async function startQueueProxy(target: string, port: number): Promise<QueueProxy> {
  const acknowledged = new Set<string>();
  const acknowledgedAtNs = new Map<string, bigint>();
  const statuses = new Map<number, number>();
  const sent = new Map<string, Set<string>>();
  const state = { away: false, sentBytes: 0 };
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    const isIngest = incoming.url?.startsWith("/v1/ingest") === true;
    const fail = (status: number) => {
      outgoing.writeHead(status, { "content-type": "text/plain" }).end("the proxy has no host\n");
    };
    if (state.away) {
      incoming.resume();
      fail(502);
      return;
    }
    const onward = request(
      new URL(incoming.url ?? "/", target),
      { method: incoming.method, headers: incoming.headers },
      (answer) => {
        const status = answer.statusCode ?? 0;
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (isIngest && status >= 200 && status < 300) {
          for (const { name } of decodeEnvelope(Buffer.concat(chunks)).items) {
            acknowledged.add(name);
            if (!acknowledgedAtNs.has(name)) acknowledgedAtNs.set(name, process.hrtime.bigint());
          }
        }
        outgoing.writeHead(status, answer.headers);
        answer.pipe(outgoing);
        answer.on("error", () => outgoing.destroy());
      },
    );
    onward.on("error", () => (outgoing.headersSent ? outgoing.destroy() : fail(502)));
    incoming.on("data", (chunk: Buffer) => {
      if (isIngest) {
        chunks.push(chunk);
      }
      state.sentBytes += chunk.length;
      onward.write(chunk);
    });
    incoming.on("end", () => {
      for (const item of isIngest ? decodeEnvelope(Buffer.concat(chunks)).items : [])
        sent.set(item.name, new Set(sent.get(item.name)).add(digestOf(item)));
      onward.end();
    });
    incoming.on("error", () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${port}`,
    acknowledged,
    acknowledgedAtNs,
    statuses,
    sent,
    get sentBytes() {
      return state.sentBytes;
    },
    get away() {
      return state.away;
    },
    set away(away: boolean) {
      state.away = away;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
