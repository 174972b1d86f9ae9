// Which objects of an archive do not belong to the one history that the others tell: a pure decision over what their headers say of states.
// The object that contradicts most others is the one that is wrong; then the next, until nobody contradicts anybody.

import { formatStateHash, formatTxId, type StateHash, type TxId } from "@pageferry/format";

/** What an object says of the state at one transaction. */
export interface Claim {
  /** In which replica it is. */
  readonly replica: number;
  readonly object: string;
  readonly txId: TxId;
  readonly hash: StateHash;
  /** `ends`: it leads there; `begins`: it goes on from there. */
  readonly side: "ends" | "begins";
}

/** An object that contradicts. */
export interface Contradiction {
  readonly replica: number;
  readonly object: string;
  /** `fork`: another state of the same transaction. `foreign`: it does not follow what is before it, or nothing after it follows. */
  readonly kind: "fork" | "foreign";
  readonly why: string;
  /** The replica of the object that it contradicts. */
  readonly against: number;
}

/** Objects of which one is chosen at a time: more of them are another history as a whole, which the first hundred show. */
const suspectsMax = 500;

/** Where claims about one transaction differ, the objects that are wrong. `claims`: all of one transaction together, in any order. */
export function contradictionsIn(claimsByTxId: Iterable<readonly Claim[]>): Contradiction[] {
  const disputed: Claim[][] = [];
  const suspects = new Set<string>();
  for (const claims of claimsByTxId) {
    const [first] = claims;
    if (first === undefined || claims.every(({ hash }) => hash === first.hash)) continue;
    disputed.push([...claims]);
    for (const claim of claims) suspects.add(keyOf(claim));
    if (suspects.size >= suspectsMax) break;
  }
  const found: Contradiction[] = [];
  for (let rest = disputed; ; ) {
    const worst = mostDisputed(rest);
    if (worst === undefined) return found;
    const key = keyOf(worst);
    found.push(contradictionOf(worst, rest));
    rest = rest.map((claims) => claims.filter((claim) => keyOf(claim) !== key));
  }
}

/** The object that contradicts the most others; of equals the one that is newer, and of these what only goes on from there. */
function mostDisputed(disputed: readonly (readonly Claim[])[]): Claim | undefined {
  const counts = new Map<string, { readonly claim: Claim; readonly count: number }>();
  for (const claims of disputed) {
    for (const claim of claims) {
      const others = claims.filter(({ hash }) => hash !== claim.hash).length;
      if (others === 0) continue;
      const known = counts.get(keyOf(claim));
      const newest = known !== undefined && isNewer(known.claim, claim) ? known.claim : claim;
      counts.set(keyOf(claim), { claim: newest, count: others + (known?.count ?? 0) });
    }
  }
  let worst: { readonly claim: Claim; readonly count: number } | undefined;
  for (const one of counts.values()) {
    const isWorse =
      worst === undefined ||
      one.count > worst.count ||
      (one.count === worst.count && isNewer(one.claim, worst.claim));
    if (isWorse) worst = one;
  }
  return worst?.claim;
}

function isNewer(a: Claim, b: Claim): boolean {
  if (a.txId !== b.txId) return a.txId > b.txId;
  return a.side === "begins" && b.side === "ends";
}

function contradictionOf(claim: Claim, disputed: readonly (readonly Claim[])[]): Contradiction {
  const key = keyOf(claim);
  const own = disputed.flatMap((claims) =>
    claims
      .filter((mine) => keyOf(mine) === key)
      .flatMap((mine) =>
        claims.filter(({ hash }) => hash !== mine.hash).map((other) => [mine, other] as const),
      ),
  );
  const isOfState = ([mine, other]: readonly [Claim, Claim]): boolean =>
    mine.side === "ends" && other.side === "ends";
  const beside = own.filter(([mine, other]) => mine.replica === other.replica);
  const isFork =
    beside.length === 0 || (beside.some(isOfState) && beside.every(([mine]) => mine.side === "ends"));
  const kind = isFork ? "fork" : "foreign";
  const [mine, other] = (own.find(isOfState) ?? own[0]) as readonly [Claim, Claim];
  const verb = { ends: "leads to", begins: "goes on from" } as const;
  const why = `${verb[mine.side]} state ${formatStateHash(mine.hash)} of transaction ${formatTxId(mine.txId)}, ${other.object} ${verb[other.side]} ${formatStateHash(other.hash)}`;
  return { replica: claim.replica, object: claim.object, kind, why, against: other.replica };
}

function keyOf({ replica, object }: Claim): string {
  return `${replica} ${object}`;
}
