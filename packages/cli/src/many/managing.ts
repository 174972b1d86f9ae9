// What makes the databases of `up` and `replicate` come and go while they run: directories, SIGHUP and the control socket.

import type { Agent, AgentStatus, Queue } from "@pageferry/agent";
import type { Config, DatabaseConfig } from "@pageferry/format";
import { openControl } from "../control/control-server.ts";
import { controlHandlers } from "../control/handlers.ts";
import type { HostClient } from "../host-client.ts";
import type { Io } from "../io.ts";
import { createLog } from "../log.ts";
import { printable } from "../terminal-text.ts";
import { createFleet, flushMsDefault, type MemberView, type Reloaded } from "./fleet.ts";
import { asPageferryError } from "./fleet-words.ts";
import { openLookers } from "./open-lookers.ts";
import { allDatabases } from "./reconcile.ts";
import { reloadedWords } from "./reloaded-words.ts";
import { createSpeaker } from "./speaker.ts";
import type { FleetTeller } from "./standing-alarms.ts";

/** What to begin with. */
export interface ManyOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly io: Io;
  /** Reads the configuration again. Absent: nothing comes or goes, what is found at the start is all. */
  readonly load?: () => Promise<Config>;
  /** SIGHUP is the application's then. */
  readonly isBeforeApplication?: boolean;
}

/** The agent that runs, and what belongs to it. */
export interface ManagedParts {
  readonly agent: Pick<Agent, "register" | "unregister" | "hasten"> & { status(): AgentStatus };
  readonly queue: Queue;
  readonly shadowDir: string;
  readonly teller: FleetTeller;
  reader(): Promise<Pick<HostClient, "call"> | undefined>;
}

/** Databases that come and go. */
export interface Managed {
  members(): readonly MemberView[];
  stop(): Promise<void>;
}

/** What is known before host and agent start. Disposing of it before it manages ends what it began. */
export interface Preparation extends Disposable {
  /** All databases, those that were found among them. */
  readonly known: Config;
  /** Those of `known` that were found in directories. */
  readonly found: readonly DatabaseConfig[];
  /** Those that the agent starts with; it gets the others when it is managed. */
  readonly first: Config;
  manage(parts: ManagedParts): Promise<Managed>;
}

/** Looks for databases, and takes SIGHUP from here on. */
export async function prepareMany(options: ManyOptions): Promise<Preparation> {
  const { config, dataDir, io, load, isBeforeApplication = false } = options;
  const log = createLog(io);
  using begun = new DisposableStack();
  const hangups = createHangups();
  if (load !== undefined && !isBeforeApplication) begun.use(io.onHangup(hangups.come));
  const lookers = openLookers(config, { dataDir, log });
  for (const looker of lookers) await looker.look({ signal: io.signal });
  const databases = await allDatabases(config, lookers);
  const known = config.directories.length === 0 ? config : { ...config, databases };
  const own = new Set(config.databases.map(({ name }) => name));
  const found = databases.filter(({ name }) => !own.has(name));
  const kept = begun.move();
  const dispose = () => kept.dispose();
  if (load === undefined) {
    const members = databases.map(({ name, path }) => ({ name, path, origin: "configured" as const }));
    const manage = async () => ({ members: () => members, stop: async () => dispose() });
    return { known, found, first: known, manage, [Symbol.dispose]: dispose };
  }
  const manage = async (parts: ManagedParts): Promise<Managed> => {
    await using held = new AsyncDisposableStack();
    held.defer(dispose);
    const fleet = createFleet({
      ...{ agent: parts.agent, config, lookers, teller: parts.teller, log },
      speaker: createSpeaker({
        ...{ config, queue: parts.queue, shadowDir: parts.shadowDir, io, deadlineMs: flushMsDefault },
      }),
      openLookers: (next, before) => openLookers(next, { dataDir, log, before }),
    });
    held.defer(fleet.stop);
    const reload = async () => fleet.reload(await load());
    const { shadowDir } = parts;
    const handlers = controlHandlers({ ...parts, fleet, reload, startedMs: io.now() });
    // Before what was found gets its directories beside it: a database may be named as the socket is.
    if (process.platform !== "win32") held.use(await openControl({ shadowDir, handlers, log }));
    await fleet.start();
    hangups.take(() => reloadAndTell(io, reload));
    const all = held.move();
    return { members: fleet.members, stop: () => all.disposeAsync() };
  };
  return { known, found, first: config, manage, [Symbol.dispose]: dispose };
}

/** Hangups come one by one, also before there is anything to reload; what comes during a reload asks for one more. */
function createHangups() {
  let isAsked = false;
  let work: (() => Promise<void>) | undefined;
  let isWorking = false;
  const go = async (): Promise<void> => {
    if (work === undefined || isWorking) return;
    isWorking = true;
    while (isAsked) {
      isAsked = false;
      await work();
    }
    isWorking = false;
  };
  return {
    come(): void {
      isAsked = true;
      void go();
    },
    take(reload: () => Promise<void>): void {
      work = reload;
      void go();
    },
  };
}

async function reloadAndTell(io: Io, reload: () => Promise<Reloaded>): Promise<void> {
  try {
    io.err(reloadedWords(await reload()));
  } catch (error) {
    const { message, hint } = asPageferryError(error);
    io.err(`error: reload: ${printable(message)}; everything goes on as before\nhint: ${printable(hint)}\n`);
  }
}
