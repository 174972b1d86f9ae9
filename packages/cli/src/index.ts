// The command line as a library: for those who start pageferry from their own Node program, and for its tests.

export type { Io } from "./io.ts";
export { run } from "./main.ts";
