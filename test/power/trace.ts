// What trace.c recorded, read back.
import { readFile } from "node:fs/promises";

/** What a process did to files, in order. `covered`: how many operations an fsync makes durable, counted from the first. */
export type FileOperation = { readonly timeNs: bigint } & (
  | { readonly kind: "create"; readonly path: string; readonly inode: bigint }
  | { readonly kind: "write"; readonly inode: bigint; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: "truncate"; readonly inode: bigint; readonly length: number }
  | { readonly kind: "fsync"; readonly inode: bigint; readonly covered: number }
  | { readonly kind: "dirsync"; readonly path: string; readonly covered: number }
  | { readonly kind: "mkdir" | "unlink"; readonly path: string }
  | { readonly kind: "rename" | "link"; readonly from: string; readonly path: string }
);

const headBytes = 7 * 8;

/** Reads a whole trace. */
export async function readTrace(file: string): Promise<FileOperation[]> {
  const bytes = await readFile(file);
  const operations: FileOperation[] = [];
  for (let at = 0; at < bytes.length; ) {
    const word = (index: number) => bytes.readBigUInt64LE(at + index * 8);
    const [pathBytes, dataBytes] = [Number(word(5)), Number(word(6))];
    const path = bytes.toString("utf8", at + headBytes, at + headBytes + pathBytes);
    const start = at + headBytes + pathBytes;
    const record = { timeNs: word(1), inode: word(2), offset: Number(word(3)), covered: Number(word(4)) };
    operations.push(operationOf(Number(word(0)), record, path, bytes.subarray(start, start + dataBytes)));
    at = start + dataBytes;
  }
  return operations;
}

interface RawRecord {
  readonly timeNs: bigint;
  readonly inode: bigint;
  readonly offset: number;
  readonly covered: number;
}

function operationOf(
  type: number,
  { timeNs, inode, offset, covered }: RawRecord,
  path: string,
  data: Uint8Array,
): FileOperation {
  const [from = "", to = ""] = path.split("\0");
  switch (type) {
    case 1:
      return { kind: "create", timeNs, path, inode };
    case 2:
      return { kind: "write", timeNs, inode, offset, data };
    case 3:
      return { kind: "truncate", timeNs, inode, length: offset };
    case 4:
      return { kind: "fsync", timeNs, inode, covered };
    case 5:
      return { kind: "dirsync", timeNs, path, covered };
    case 6:
      return { kind: "mkdir", timeNs, path };
    case 7:
      return { kind: "rename", timeNs, from, path: to };
    case 8:
      return { kind: "unlink", timeNs, path };
    case 9:
      return { kind: "link", timeNs, from, path: to };
    default:
      throw new Error(`a trace holds operation ${type}`);
  }
}
