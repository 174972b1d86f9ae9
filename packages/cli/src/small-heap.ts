// Keeps the command's heap small.
import { setFlagsFromString } from "node:v8";

/**
 * New objects go to a space that V8 lets grow to 64 MB and more before it looks what of it is still needed, which saves a server of short requests
 * some time. Here pages of databases make most of the memory, and lie outside of it: kept at its first size, the space costs a few megabytes, and no
 * time that could be measured. To be called before the work begins.
 */
export function keepHeapSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
  // What a start needed for a moment is not kept: with a thousand databases that is a fifth of the memory.
  setFlagsFromString("--optimize-for-size");
}
