// How an observer gives way to the application that it lives in: its reading is limited, and the event loop has its turn.
import { setImmediate, setTimeout } from "node:timers/promises";
import type { ObserverState } from "./observer-state.ts";

/** The application's event loop waits at most about so long for us. */
const sliceMs = 4;

/** Gives way when it is time to. */
export async function giveWay(state: ObserverState): Promise<void> {
  if (state.clockMs() - state.turnAtMs < sliceMs) return;
  await setImmediate();
  state.turnAtMs = state.clockMs();
}

/** Waits until so many bytes more may have been read. */
export async function pauseReading(state: ObserverState, bytes: number): Promise<void> {
  const { maxReadRate = 0 } = state.options;
  const clockMs = state.clockMs();
  if (maxReadRate > 0) {
    state.readableAtMs = Math.max(state.readableAtMs, clockMs) + (bytes / maxReadRate) * 1000;
    const waitMs = state.readableAtMs - clockMs;
    if (waitMs > sliceMs) await setTimeout(waitMs);
  }
  await giveWay(state);
}
