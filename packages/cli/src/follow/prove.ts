// Which of some states a file is, proved by all of its live pages.

import { isPageferryError, newestMeta, type StandbyState } from "@pageferry/format";
import { openPageSource, threadWorkbench } from "@pageferry/format/node";

/** Reads the whole file, in threads. Undefined: it is none of them, or no sound database. */
export async function proveState<State extends Pick<StandbyState, "txId" | "stateHash">>(
  path: string,
  states: readonly State[],
  signal?: AbortSignal,
): Promise<State | undefined> {
  const head = headOf(path);
  for (const state of states.filter(({ txId }) => txId === head?.txId)) {
    signal?.throwIfAborted();
    await using workbench = threadWorkbench(path);
    const order = {
      pageSize: head?.pageSize ?? 0,
      mode: "quick",
      expectedStateHash: state.stateHash,
    } as const;
    if ((await workbench.check(order)).problemCount === 0) return state;
  }
  return undefined;
}

function headOf(path: string): { readonly txId: bigint; readonly pageSize: number } | undefined {
  try {
    using source = openPageSource(path);
    const meta = newestMeta(source.read(0, 1), source.read(1, 1));
    return meta && { txId: meta.txId, pageSize: source.pageSize };
  } catch (error) {
    if (isPageferryError(error, "not-bolt") || isPageferryError(error, "corrupt")) return undefined;
    throw error;
  }
}
