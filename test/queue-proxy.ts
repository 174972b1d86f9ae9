// A proxy between agent and host that remembers what was acknowledged: the promise begins there.
import { createServer, request } from "node:http";
import { decodeEnvelope } from "@pageferry/format";

export interface QueueProxy extends AsyncDisposable {
  readonly url: string;
  /** The names of all items of envelopes that the host answered with a 2xx. */
  readonly acknowledged: ReadonlySet<string>;
  /** When each was acknowledged first, by the system's monotonic clock, ns. */
  readonly acknowledgedAtNs: ReadonlyMap<string, bigint>;
  /** While set, no request gets through: the host is away. */
  away: boolean;
  /** Statuses of answers, and how often each came. */
  readonly statuses: ReadonlyMap<number, number>;
}

function itemNames(body: Uint8Array): string[] {
  return decodeEnvelope(body).items.map((item) => item.name);
}

/** Starts a proxy to `target` on `port`. */
export async function startQueueProxy(target: string, port: number): Promise<QueueProxy> {
  const acknowledged = new Set<string>();
  const acknowledgedAtNs = new Map<string, bigint>();
  const statuses = new Map<number, number>();
  const state = { away: false };
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
          for (const name of itemNames(Buffer.concat(chunks))) {
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
      onward.write(chunk);
    });
    incoming.on("end", () => onward.end());
    incoming.on("error", () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${port}`,
    acknowledged,
    acknowledgedAtNs,
    statuses,
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
