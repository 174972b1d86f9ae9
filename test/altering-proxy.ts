// Somebody between a client and its host, who lets everything pass but alters manifests.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";

/** A manifest as it travels. */
export type ManifestValue = Record<string, unknown> & { objects: Record<string, unknown>[] };

/** Starts it on a free port of the loopback; `alter` gets each manifest and gives what is passed on. */
export async function startAlteringProxy(
  hostUrl: string,
  alter: (manifest: ManifestValue) => unknown,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer(async (asked, answer) => {
    const { authorization = "", range } = asked.headers;
    const headers = { authorization, ...(range === undefined ? {} : { range }) };
    const got = await fetch(`${hostUrl}${asked.url}`, { headers });
    const passed = Object.fromEntries([...got.headers].filter(([name]) => name !== "content-length"));
    if (got.ok && new URL(asked.url ?? "", hostUrl).pathname.endsWith("/manifest")) {
      const altered = alter((await got.json()) as ManifestValue);
      answer.writeHead(got.status, passed).end(JSON.stringify(altered));
      return;
    }
    answer.writeHead(got.status, Object.fromEntries(got.headers));
    if (got.body === null) answer.end();
    else Readable.fromWeb(got.body as ReadableStream).pipe(answer);
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
