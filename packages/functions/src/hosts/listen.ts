// The host's ear: an HTTP server of Node's over a hono app, which can be closed with a deadline.

import { createAdaptorServer, type ServerType } from "@hono/node-server";
import { type Config, PageferryError } from "@pageferry/format";

/** Where the host listens when nobody says where, if that port is free. */
const portDefault = 7373;

/** A connection on which nothing moves for this long is gone. */
const idleConnectionMs = 120_000;

interface Listening {
  readonly url: string;
  /** Takes no new calls, gives those under way until the deadline, then cuts them off. */
  close(deadlineMs: number): Promise<void>;
}

/** Listens at a port; where none was named, at any free one if the usual is taken. Errors: `bad-config`. */
export async function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  at: Config["listen"] | undefined,
): Promise<Listening> {
  const host = at?.host ?? "127.0.0.1";
  // A large body on a slow line takes as long as it goes on: only standing still ends it.
  const server = createAdaptorServer({ fetch, serverOptions: { requestTimeout: 0 } });
  if ("timeout" in server) server.timeout = idleConnectionMs;
  const port = await listenOn(server, host, at?.port ?? portDefault, at?.port === undefined);
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    async close(deadlineMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      if ("closeIdleConnections" in server) server.closeIdleConnections();
      const cut = setTimeout(
        () => "closeAllConnections" in server && server.closeAllConnections(),
        deadlineMs,
      );
      await closed;
      clearTimeout(cut);
    },
  };
}

function listenOn(server: ServerType, host: string, port: number, mayMove: boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException) => {
      if (cause.code === "EADDRINUSE" && mayMove) return resolve(listenOn(server, host, 0, false));
      const hint = cause.code === "EADDRINUSE" ? { hint: "Choose another with --port." } : {};
      reject(
        new PageferryError("bad-config", `cannot listen on ${host}:${port}: ${cause.code ?? cause.message}`, {
          cause,
          ...hint,
        }),
      );
    };
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
