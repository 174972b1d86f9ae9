// The seed's registration for Node: made from a configuration before the database is there, started with it, closed after it.
import { PageferryError } from "@pageferry/format";
import type { StopOptions } from "../agent.ts";
import {
  type Controller,
  checkQueue,
  createController,
  type ObserverConfig,
  type ObserverOptions,
} from "./controller.ts";
import type { ObservedDatabase } from "./observed-database.ts";

/** An observer that waits for its databases. Disposing of it closes it with the default deadline. */
export interface PageFlushObserverRegistration extends AsyncDisposable {
  /** Begins to observe a database. What it answers is to be told of each commit. Throws `locked`, `bad-name`. */
  start(db: ObservedDatabase): Promise<Controller>;
  /** Sends what was told, and ends everything that was started. Calling it twice is nothing. */
  close(options?: StopOptions): Promise<void>;
}

/**
 * Makes a registration. Throws `bad-config` for replicas without a queue: an observer sends to a host, which may be in this process.
 *
 * ```ts
 * await using host = await localHost(config);
 * await using registration = observer(config, { queue: host.queue });
 * const controller = await registration.start(db);
 * db.onCommit(controller.onPageFlush);
 * ```
 */
export function observer(
  config: ObserverConfig,
  options: ObserverOptions = {},
): PageFlushObserverRegistration {
  checkQueue(config, options);
  const controllers: Controller[] = [];
  let closing: Promise<void> | undefined;

  async function start(db: ObservedDatabase): Promise<Controller> {
    if (closing !== undefined)
      throw new PageferryError("unavailable", `${db.path}: the observer is closed already`);
    const controller = createController(db, { ...options, config });
    controllers.push(controller);
    try {
      await controller.start();
    } catch (error) {
      controllers.splice(controllers.indexOf(controller), 1);
      throw error;
    }
    return controller;
  }

  async function closeAll(stop?: StopOptions): Promise<void> {
    const closed = await Promise.allSettled(controllers.map((controller) => controller.close(stop)));
    const failed = closed.find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  }

  const close = (stop?: StopOptions): Promise<void> => {
    closing ??= closeAll(stop);
    return closing;
  };
  return { start, close, [Symbol.asyncDispose]: () => close() };
}
