// What the page inside a backup is asked, and what it looks up.

import {
  bytesOfName,
  type DatabaseName,
  getValue,
  listBucket,
  nameOfBytes,
  parseBucketPath,
} from "@pageferry/format";
import type { Context } from "hono";
import { grantOfCall } from "../access.ts";
import type { HostReader } from "../host-reader.ts";
import { valueBytesMax } from "../inspect-api.ts";
import type { Looks } from "../inspect-looks.ts";
import type { OpenedPoint } from "../inspect-points.ts";
import type { DatabaseStatus } from "../status.ts";
import { answering } from "./archive-view.ts";
import { originOf } from "./cookie.ts";
import { entriesMax, type InspectView, inspectMain, keyBytesMax } from "./inspect-page.ts";
import { pathOf, type View } from "./layout.ts";
import { type InspectQuery, inspectQuerySchema, parseAs, targetIn } from "./page-schema.ts";
import { partAt, shownPart } from "./value-view.ts";

interface InspectParts {
  readonly known: (context: Context) => Promise<DatabaseName>;
  readonly readers: (database: DatabaseName) => Promise<readonly HostReader[]>;
  readonly looks: Looks;
  readonly page: {
    readonly standing: (database: DatabaseName) => DatabaseStatus;
    readonly now: () => number;
  };
}

/** What to show, with its status; or where to go, for a key that is a bucket. */
export async function inspectPage(
  context: Context,
  { known, readers, looks, page }: InspectParts,
): Promise<{ readonly view: View; readonly status: 200 | 404 } | { readonly location: string }> {
  const grant = grantOfCall(context);
  const database = await known(context);
  looks.requireOn();
  const asked = parseAs(inspectQuerySchema, context.req.query());
  const target = targetIn(context.req.query());
  const buckets = parseBucketPath(asked.path);
  const there = answering(await readers(database), page.standing(database).replicas);
  const order = { database, target, readers: there.readers };
  const { signal } = context.req.raw;
  const call = asked.key === undefined ? "ls" : "get";
  const { plan, what } = await looks.look(
    context,
    order,
    { depth: buckets.length, call, signal },
    async ({ plan: opened, pages }) => ({ plan: opened, what: await seen(pages, buckets, asked, signal) }),
  );
  const path = buckets.map(nameOfBytes);
  if (what === "bucket") {
    const query = { txid: context.req.query("txid"), generation: context.req.query("generation") };
    const below = [...path, nameOfBytes(bytesOfName(asked.key ?? ""))].join("/");
    return { location: pathOf(database, "/inspect", { path: below, ...query }) };
  }
  const main = inspectMain({
    ...{ database, path, plan, what, origin: originOf(context.req.raw), nowMs: page.now() },
    mayRestore: grant.scopes.has("restore"),
  });
  const title = `Look inside ${database} · pageferry`;
  const trail = [
    ...[
      { text: "All", href: "/" },
      { text: database, href: pathOf(database) },
    ],
    { text: "Look inside" },
  ];
  return {
    view: { title, main, nowMs: page.now(), grant, trail },
    status: what.kind === "nothing" ? 404 : 200,
  };
}

async function seen(
  pages: OpenedPoint["pages"],
  buckets: readonly Uint8Array[],
  { key, after, prefix, at, as }: InspectQuery,
  signal: AbortSignal,
): Promise<InspectView["what"] | "bucket"> {
  if (key === undefined) {
    const found = await listBucket(pages, buckets, {
      ...{ limit: entriesMax, keyBytesMax, signal },
      ...{ after: bytesIn(after), prefix: bytesIn(prefix) },
    });
    if (found === undefined) return { kind: "nothing", key: undefined };
    const { entries, next } = found;
    return {
      kind: "bucket",
      ...{ entries, next: next === undefined ? undefined : nameOfBytes(next), after, prefix },
    };
  }
  const name = bytesOfName(key);
  const found = await getValue(pages, buckets, name, { signal });
  if (found === undefined) return { kind: "nothing", key: nameOfBytes(name) };
  if (found === "bucket") return found;
  const part = partAt(at, found.bytes);
  const bytes = Buffer.concat(await Array.fromAsync(found.read(part.offset, part.end)));
  const wantsHex = as === "hex";
  return {
    kind: "value",
    ...{ key: nameOfBytes(name), bytes: found.bytes, part, wantsHex },
    shown: shownPart(bytes, part, wantsHex),
    mayDownload: found.bytes <= valueBytesMax,
  };
}

function bytesIn(name: string | undefined): Uint8Array | undefined {
  return name === undefined ? undefined : bytesOfName(name);
}
