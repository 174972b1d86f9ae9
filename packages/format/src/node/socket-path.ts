// A socket in a directory, by a path that a socket's address has room for.
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { PageferryError } from "../errors.ts";

/** The path of a socket, for as long as it is not disposed of. */
export interface SocketPath extends AsyncDisposable {
  readonly path: string;
}

/** 107 are there on Linux, 103 on macOS. */
const pathBytesMax = 100;

/** What is too long gets a short name from Linux's /proc, for as long as its directory is open. Errors: `bad-config` elsewhere. */
export async function openSocketPath(directory: string, socketName: string): Promise<SocketPath> {
  const path = join(directory, socketName);
  if (Buffer.byteLength(path) <= pathBytesMax) return { path, async [Symbol.asyncDispose]() {} };
  if (process.platform !== "linux") {
    throw new PageferryError("bad-config", `${path}: too long for a socket on this system`, {
      hint: "Choose a shorter `shadowDir`: all of it, with the socket's name, has 100 bytes at most.",
    });
  }
  const handle: FileHandle = await open(directory, "r");
  return {
    path: `/proc/self/fd/${handle.fd}/${socketName}`,
    [Symbol.asyncDispose]: () => handle.close(),
  };
}
