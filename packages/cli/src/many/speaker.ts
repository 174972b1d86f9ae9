// Speaks to the host for a database that the agent has let go, with an agent for that one alone: it captures nothing, sends what waits in the
// shadow, and says farewell.

import { access } from "node:fs/promises";
import { join } from "node:path";
import { createAgent, type Queue } from "@pageferry/agent";
import { type Config, isPageferryError, parseDatabaseName } from "@pageferry/format";
import type { Io } from "../io.ts";
import { createLog } from "../log.ts";
import type { Speaker } from "./farewells.ts";

/** Where it speaks from, and to whom. */
export interface SpeakerOptions {
  readonly config: Config;
  readonly queue: Queue;
  readonly shadowDir: string;
  readonly io: Io;
  /** How long it may take, ms. */
  readonly deadlineMs: number;
}

/** Makes one. */
export function createSpeaker({ config, queue, shadowDir, io, deadlineMs }: SpeakerOptions): Speaker {
  return {
    async knows(name) {
      const directory = directoryOf(shadowDir, name);
      if (directory === undefined) return false;
      return access(join(directory, "cursor.json")).then(
        () => true,
        () => false,
      );
    },
    async say(name, farewell) {
      // Its file is not looked at, and is not locked: where it was may be another database by now.
      const database = { name, path: join(shadowDir, name) };
      await using agent = createAgent({
        ...config,
        databases: [database],
        ...{ queue, shadowDir, openSource: null, logger: createLog(io), now: io.now },
      });
      await agent.start();
      return (await agent.unregister(name, { deadlineMs, farewell })).isTold;
    },
  };
}

/** A name comes from who asks: what is none names no directory. */
function directoryOf(shadowDir: string, name: string): string | undefined {
  try {
    return join(shadowDir, parseDatabaseName(name));
  } catch (error) {
    if (isPageferryError(error, "bad-name")) return undefined;
    throw error;
  }
}
