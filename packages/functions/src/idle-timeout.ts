// A server cuts lines on which nothing moves. While somebody waits for an answer that takes long to make, nothing can.

import type { Socket } from "node:net";
import type { Context } from "hono";

/** Lets the caller's line be silent while `work` goes on. Elsewhere than on Node's own server it does nothing. */
export async function withoutIdleTimeout<Result>(
  context: Context,
  work: () => Promise<Result>,
): Promise<Result> {
  const { incoming } = (context.env ?? {}) as { readonly incoming?: { readonly socket?: Socket } };
  const socket = incoming?.socket;
  const timeoutMs = socket?.timeout ?? 0;
  socket?.setTimeout(0);
  try {
    return await work();
  } finally {
    socket?.setTimeout(timeoutMs);
  }
}
