// Is what comes new, or there already, or another history? A pure decision by transaction ids and state hashes, never by
// bytes or clocks: the same segment resent has another receipt time. See docs/format.md#forks.

import { formatStateHash, formatTxId, type StateHash } from "@pageferry/format";
import type { StateLink } from "./describe.ts";

/** `fork` says why in a sentence. */
export type Judgement =
  | { readonly kind: "new" }
  | { readonly kind: "present" }
  | { readonly kind: "fork"; readonly why: string };

/**
 * Judges a state against what is stored at its transaction and at its parent. Two states of one transaction with other
 * hashes are a fork; so is a state whose parent is stored with another hash. Unknown hashes decide nothing.
 */
export function judge(link: StateLink, same: readonly StateLink[], parents: readonly StateLink[]): Judgement {
  const other = otherHash(link.post, same);
  if (other !== undefined) {
    const why = `transaction ${formatTxId(link.txId)} is stored with state ${formatStateHash(other)}`;
    return { kind: "fork", why: `${why}, this one has ${words(link.post)}` };
  }
  const otherParent = link.parentTxId === null ? undefined : otherHash(link.pre, parents);
  if (otherParent !== undefined && link.parentTxId !== null) {
    const why = `its parent ${formatTxId(link.parentTxId)} is stored with state ${formatStateHash(otherParent)}`;
    return { kind: "fork", why: `${why}, it follows ${words(link.pre)}` };
  }
  return same.some((stored) => isSame(link, stored)) ? { kind: "present" } : { kind: "new" };
}

/** Tells whether two objects of one name hold the same states, though their bytes differ. */
export function areSame(links: readonly StateLink[], stored: readonly StateLink[]): boolean {
  return (
    links.length === stored.length &&
    links.every((link, at) => stored[at] !== undefined && isSame(link, stored[at]))
  );
}

/** Equal transaction, parent and known hashes; where a hash is unknown on both sides, equal data. */
function isSame(link: StateLink, stored: StateLink): boolean {
  if (link.txId !== stored.txId || link.parentTxId !== stored.parentTxId) return false;
  if (link.post === undefined && stored.post === undefined && link.pre === stored.pre) {
    return link.checksum !== undefined && link.checksum === stored.checksum;
  }
  return link.post !== undefined && link.post === stored.post && link.pre === stored.pre;
}

function otherHash(hash: StateHash | undefined, stored: readonly StateLink[]): StateHash | undefined {
  if (hash === undefined || stored.some(({ post }) => post === hash)) return undefined;
  return stored.find(({ post }) => post !== undefined)?.post;
}

function words(hash: StateHash | undefined): string {
  return hash === undefined ? "an unknown one" : formatStateHash(hash);
}
