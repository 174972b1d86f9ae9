// A body in pieces that a connection takes one after the other, so that it can be seen to move.
import { bodyLost, type StagedBody } from "../queue.ts";

/** Bytes handed to a connection at a time. */
const pieceBytes = 64 * 1024;

/** The pieces of a body. Throws what `bodyLost` makes of one that cannot be read. */
export async function* piecesOf(body: Uint8Array | StagedBody): AsyncGenerator<Uint8Array> {
  if (body instanceof Uint8Array) {
    yield* cut(body);
    return;
  }
  try {
    for await (const chunk of body.open()) yield* cut(chunk);
  } catch (error) {
    throw bodyLost(`staged body ${body.digest}`, error);
  }
}

function* cut(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}
