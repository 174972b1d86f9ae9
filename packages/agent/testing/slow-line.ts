// For tests: a line between agent and host that carries so many bytes a second and no more, and can stand still.
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";

/** A line. */
export interface SlowLine extends AsyncDisposable {
  readonly url: string;
  /** Towards the host; 0 stands still. */
  bytesPerSecond: number;
  /** What came through. */
  readonly carried: number;
}

const sliceMs = 10;

/** Starts a line to a port of this machine. */
export async function startSlowLine(port: number, bytesPerSecond: number): Promise<SlowLine> {
  const state = { bytesPerSecond, carried: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        near.destroy();
        far.destroy();
      });
    }
    far.pipe(near);
    void carry(near, far, state);
  });
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  return Object.assign(state, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((settle) => server.close(settle));
    },
  });
}

async function carry(
  near: Socket,
  far: Socket,
  state: { bytesPerSecond: number; carried: number },
): Promise<void> {
  // An error ends both sides, which is all there is to do.
  await (async () => {
    for await (const chunk of near as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length && !near.destroyed; ) {
        const slice = Math.max(0, Math.ceil((state.bytesPerSecond * sliceMs) / 1000));
        const bytes = chunk.subarray(at, at + slice);
        if (bytes.length > 0 && !far.write(bytes)) await new Promise((settle) => far.once("drain", settle));
        at += bytes.length;
        state.carried += bytes.length;
        await setTimeout(sliceMs);
      }
    }
    far.end();
  })().catch(() => {});
}
