// What every real server of the tests has in common: a process on a free port that can be killed, started again where it
// was, frozen and thawed. A test that fails shows its log.

import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import type { RunningProcess } from "../processes.ts";
import { until } from "../temporary.ts";

/** Where setup/servers.sh keeps what it downloaded and built. */
const serversDirectory = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "pageferry-test");

const pins = readFileSync(new URL("../setup/servers.sh", import.meta.url), "utf8");

/** The directory of a server of setup/servers.sh, in the version that is pinned there. */
export function serverHome(name: string): string {
  const version = new RegExp(`^${name.replaceAll("-", "_")}_version=(\\S+)$`, "m").exec(pins)?.[1];
  if (version === undefined) throw new Error(`setup/servers.sh pins no version of ${name}`);
  return join(serversDirectory, `${name}-${version}`);
}

/** Why a server's tests are skipped on this machine; false where they run. CI skips nothing: there they fail. */
export function skippedWithout(file: string): string | false {
  if (existsSync(file) || process.env.CI !== undefined) return false;
  return `${file} is not installed: npm run setup`;
}

/** A server's process. */
export interface Server extends AsyncDisposable {
  readonly port: number;
  /** Of the process as it was started last. */
  readonly pid: number;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** Starts it again on the same port and data; kills it before if it runs. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay, nothing answers. */
  freeze(): void;
  thaw(): void;
  output(): string;
}

export interface ServerOptions {
  readonly port: number;
  readonly start: () => RunningProcess;
  /** Whether it answers; asked until it does. Default: somebody listens. */
  readonly isReady?: () => Promise<boolean>;
}

/** Starts a server and waits until it answers. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { port, isReady = () => listens(port) } = options;
  let running: RunningProcess;
  let before = "";
  const begin = async () => {
    running = options.start();
    const starting = running;
    try {
      await until(`a server on port ${port}`, () => starting.isRunning() && isReady(), {
        timeoutMs: 20_000,
        everyMs: 20,
      });
    } catch (cause) {
      await starting[Symbol.asyncDispose]();
      throw new Error(`the server did not start:\n${starting.output().slice(-4000)}`, { cause });
    }
  };
  await begin();
  const signal = (name: NodeJS.Signals) => running.kill(name);
  const kill = async () => {
    // A frozen process is killed all the same.
    before += running.output();
    await running[Symbol.asyncDispose]();
  };
  return {
    port,
    get pid() {
      return running.pid;
    },
    kill,
    async restart() {
      await kill();
      await begin();
    },
    freeze: () => signal("SIGSTOP"),
    thaw: () => signal("SIGCONT"),
    output: () => before + running.output(),
    [Symbol.asyncDispose]: kill,
  };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
