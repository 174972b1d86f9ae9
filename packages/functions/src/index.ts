// @pageferry/functions: the other side of the queue. The parts, for those who build their own host, and the host in one process.

export {
  type HostLogger,
  type HostQueue,
  type LocalHost,
  type LocalHostConfig,
  type LocalHostOptions,
  localHost,
} from "./hosts/local.ts";
