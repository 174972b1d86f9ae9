// What the agent asks of a logger. pino fits as it is; without one the agent is silent and `status()` says everything.

/** The part of pino's interface that is used: an object of fields, then a sentence. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Says nothing. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
};
