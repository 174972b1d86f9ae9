// Where the objects of a manifest are fetched from: from their store, by URLs that need no token, or from the host. The choice is pure.

import type { ObjectFacts, RestorePlan } from "@pageferry/format";
import type { HostReader } from "./host-reader.ts";

/** What a caller wants: `presigned` wherever a store gives such URLs, `auto` where the healthiest holder does, `proxied` never. */
export type UrlKind = "auto" | "presigned" | "proxied";

/** Objects that get a URL of their own, the largest first: making one takes a good part of a millisecond. */
const presignedMax = 1000;

/** An object of a plan, and the readers that have it whole, healthiest first. */
export interface HeldObject<Reader> {
  readonly name: string;
  readonly size: number;
  readonly holders: readonly Reader[];
}

/** By the object's name: the reader that gives its URL. What is not in it is proxied. */
export function choosePresigned<Reader>(
  objects: readonly HeldObject<Reader>[],
  kind: UrlKind,
  canPresign: (reader: Reader) => boolean,
  countMax = presignedMax,
): Map<string, Reader> {
  const chosen = new Map<string, Reader>();
  if (kind === "proxied") return chosen;
  for (const { name, holders } of objects.toSorted((a, b) => b.size - a.size)) {
    const reader = kind === "auto" ? holders[0] : holders.find(canPresign);
    if (reader !== undefined && canPresign(reader)) chosen.set(name, reader);
    if (chosen.size >= countMax) break;
  }
  return chosen;
}

export interface PlacesOptions {
  /** Healthiest first. */
  readonly readers: readonly HostReader[];
  readonly kind: UrlKind;
  readonly expiresSeconds: number;
  /** An object beside the plan, and the names of the readers that have it. */
  readonly besides?:
    | { readonly name: string; readonly size: number; readonly holders: readonly string[] }
    | undefined;
  /** Only this replica was asked for. */
  readonly replica?: string | undefined;
}

/** A place for each object of a plan. */
export async function placesOf(
  plan: RestorePlan,
  { readers, kind, expiresSeconds, replica, besides }: PlacesOptions,
): Promise<Map<string, Pick<ObjectFacts, "url" | "via">>> {
  const objects = [plan.snapshot, ...plan.steps].map(({ name, size }) => ({
    ...{ name, size },
    holders: readers.filter((reader) => (plan.sizes?.get(name)?.get(reader.name) ?? -1) === size),
  }));
  if (besides !== undefined) {
    const { name, size, holders } = besides;
    objects.push({ name, size, holders: readers.filter((reader) => holders.includes(reader.name)) });
  }
  const chosen = choosePresigned(objects, kind, ({ presign }) => presign !== undefined);
  const query = replica === undefined ? "" : `?replica=${encodeURIComponent(replica)}`;
  const places = await Promise.all(
    objects.map(async ({ name }) => {
      const url = await chosen.get(name)?.presign?.(name, { expiresSeconds });
      const path = `objects/${name.split("/").map(encodeURIComponent).join("/")}`;
      return [name, url === undefined ? proxied(path + query) : { url, via: "presigned" as const }] as const;
    }),
  );
  return new Map(places);
}

function proxied(url: string): Pick<ObjectFacts, "url" | "via"> {
  return { url, via: "proxied" };
}
