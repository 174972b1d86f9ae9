// What an agent tells while it runs, as typed events.
import type { Generation, GenerationParent, GenerationReason, TxId } from "@pageferry/format";
import type { Alarm } from "./alarms.ts";
import type { Logger } from "./logger.ts";

/** The events by name. Each carries the database it is about. */
export interface AgentEvents {
  /** A generation began. */
  begin: {
    readonly database: string;
    readonly generation: Generation;
    readonly reason: GenerationReason;
    readonly parent: GenerationParent | null;
  };
  /** Everything up to `txId` is durable on this machine. */
  shadowed: { readonly database: string; readonly txId: TxId };
  /** Everything up to `txId` is durable at the host. */
  acknowledged: {
    readonly database: string;
    readonly generation: Generation;
    readonly txId: TxId;
    readonly kind: "segment" | "snapshot";
  };
  /** Something is wrong until `cleared`. */
  alarm: { readonly database: string; readonly alarm: Alarm };
  cleared: { readonly database: string; readonly alarm: Alarm };
}

/** Called with each event of a name. What it throws is logged, and disturbs nothing. */
export type AgentListener<Name extends keyof AgentEvents> = (event: AgentEvents[Name]) => void;

/** Where events are told and listened to. */
export interface AgentEmitter {
  emit<Name extends keyof AgentEvents>(name: Name, event: AgentEvents[Name]): void;
  /** Listens, until the returned function is called. */
  on<Name extends keyof AgentEvents>(name: Name, listener: AgentListener<Name>): () => void;
}

/** Makes an emitter. */
export function createAgentEmitter(logger: Logger): AgentEmitter {
  const listeners = new Map<keyof AgentEvents, Set<(event: never) => void>>();
  return {
    emit(name, event) {
      for (const listener of listeners.get(name) ?? []) {
        try {
          (listener as AgentListener<typeof name>)(event);
        } catch (error) {
          logger.error({ err: error, event: name }, "a listener failed");
        }
      }
    },
    on(name, listener) {
      const own = listeners.get(name) ?? new Set();
      listeners.set(name, own.add(listener));
      return () => own.delete(listener);
    },
  };
}
