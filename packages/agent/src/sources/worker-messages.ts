// What the main thread and the capture worker tell each other. Events travel with their memory transferred.
import type { ErrorCode, TxId } from "@pageferry/format";
import type { DumpedTable } from "../page-table-file.ts";
import type { CaptureReference } from "./capture-event.ts";
import type { TailerEvent } from "./tailer-state.ts";

/** What opens a source in the worker. */
export interface OpenOrder {
  readonly path: string;
  readonly scratchDir: string;
  readonly reference: CaptureReference | null;
  /** Set: `path` is not read; the transactions come from the shadow directory of the Go implementation. */
  readonly shadow: ShadowPlace | null;
  readonly forced: "restored" | "fork" | undefined;
  readonly isReferenceRestored: boolean;
  readonly maxReadRate: number;
  readonly baseDeadlineMs: number;
  /** One counter: KiB of events that the consumer is done with, modulo 2^32. */
  readonly consumedKib: Uint32Array<SharedArrayBuffer>;
}

/** A shadow directory, and where its mirror may lie. */
export interface ShadowPlace {
  readonly directory: string;
  readonly mirrorDir: string;
}

/** To the worker. */
export type WorkerOrder =
  | { readonly kind: "open"; readonly id: number; readonly order: OpenOrder }
  | { readonly kind: "base"; readonly id: number }
  | { readonly kind: "checkpoint"; readonly id: number; readonly path: string }
  | {
      readonly kind: "stored";
      readonly id: number;
      readonly origin: string;
      readonly txId: TxId;
      readonly isOver: boolean;
    }
  | { readonly kind: "stop"; readonly id: number; readonly deadlineMs: number };

/** From the worker. */
export type WorkerReport =
  | { readonly kind: "event"; readonly id: number; readonly event: TailerEvent; readonly kib: number }
  | { readonly kind: "table"; readonly id: number; readonly path: string; readonly table: DumpedTable }
  | { readonly kind: "stopped"; readonly id: number }
  /** The source cannot be held at all, such as without a scratch directory. */
  | { readonly kind: "refused"; readonly id: number; readonly code: ErrorCode; readonly message: string };
