// The line between an agent and its host, below HTTP: it can be cut, fall silent, or be slow.
import { createServer, connect as dial, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** `cut`: connections break, and new ones too. `silent`: they stay, and nothing arrives. Slow: late, and a few bytes at a time. */
export type LineState =
  | "open"
  | "cut"
  | "silent"
  | { readonly delayMs: number; readonly bytesPerSecond: number };

export interface Line extends AsyncDisposable {
  readonly url: string;
  become(state: LineState): void;
}

/** How often a silent line is looked at. */
const pollMs = 20;

/** Opens a line from a free port to one of the loopback. */
export async function openLine(targetPort: number): Promise<Line> {
  const sockets = new Set<Socket>();
  const line: { state: LineState } = { state: "open" };
  const keep = (socket: Socket): Socket => {
    sockets.add(socket.on("error", () => undefined));
    return socket.once("close", () => sockets.delete(socket));
  };
  const carry = async (from: Socket, to: Socket): Promise<void> => {
    const late = async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        while (line.state === "silent" && !from.destroyed) await sleep(pollMs);
        if (typeof line.state === "object")
          await sleep(line.state.delayMs + (chunk.length * 1000) / line.state.bytesPerSecond);
        yield chunk;
      }
    };
    await pipeline(from, late, to);
  };
  const server = createServer({ allowHalfOpen: true }, (near) => {
    keep(near);
    if (line.state === "cut") return void near.resetAndDestroy();
    const far = keep(dial({ port: targetPort, host: "127.0.0.1", allowHalfOpen: true }));
    const over = () => {
      near.destroy();
      far.destroy();
    };
    far.once("error", over);
    Promise.all([carry(near, far), carry(far, near)]).catch(over);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const breakAll = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    become(state) {
      line.state = state;
      if (state === "cut") breakAll();
    },
    async [Symbol.asyncDispose]() {
      line.state = "open";
      breakAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
