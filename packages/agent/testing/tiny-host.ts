// For tests: the smallest host that keeps the contract over HTTP. It remembers what it acknowledged, can be told to be
// away, slow or wrong, and restores what it has, to hold it against the truth.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import {
  decodeEnvelope,
  decodeHeartbeats,
  decodeSegment,
  decodeSnapshot,
  type Envelope,
  formatNeeds,
  type Generation,
  type GenerationBegin,
  type GenerationNeeds,
  parseGeneration,
  parseObjectName,
  parseStateHash,
  parseTxId,
  type StateHash,
  segmentState,
  type TxId,
  txId,
} from "@pageferry/format";
import type { PointState } from "../src/queue.ts";
import { tableOf } from "./model-database.ts";

/** An answer that is not the usual one. */
export interface OddAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A host for tests. */
export interface TinyHost extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly envelopes: readonly Envelope[];
  readonly requests: readonly string[];
  /** By name. */
  readonly objects: ReadonlyMap<string, Uint8Array>;
  readonly begins: ReadonlyMap<Generation, GenerationBegin>;
  /** Decides before anything is looked at; `"lose"` does the work and breaks the connection instead of answering. */
  intercept: (method: string, path: string) => OddAnswer | "lose" | undefined;
  /** Which names of objects it takes: an older host refuses what it does not know, another what is of a history that it has otherwise. */
  knows: (name: string) => boolean | "fork";
  /** Whose heartbeats it takes when they come with those of others; `undefined`: it does not know such a call. */
  takesTogether: ((database: string) => boolean) | undefined;
  /** How long an answer takes after all was read, ms. */
  delay: () => number;
  /** What is said besides what follows from the objects. */
  needs: {
    readonly missing?: readonly (readonly [TxId, TxId])[];
    readonly snapshot?: boolean;
    readonly buildsSnapshots?: boolean;
  };
  /** Whether it has a point that a file was restored to, in that state. Undefined: it does not know the question, as an older host. */
  holds: ((point: PointState) => Promise<boolean> | boolean) | undefined;
  /** Forgets staged bodies. */
  forgetStaged(): void;
  forget(isForgotten: (name: string) => boolean): void;
  /** The state of a point, from snapshots and segments alone. */
  restore(generation: Generation, id: TxId): Promise<StateHash>;
}

interface HostState {
  readonly envelopes: Envelope[];
  readonly requests: string[];
  readonly objects: Map<string, Uint8Array>;
  readonly staged: Map<string, Uint8Array>;
  readonly begins: Map<Generation, GenerationBegin>;
  intercept: TinyHost["intercept"];
  knows: TinyHost["knows"];
  takesTogether: TinyHost["takesTogether"];
  delay: () => number;
  needs: TinyHost["needs"];
  holds: TinyHost["holds"];
}

/** Starts one; on a port of its own unless told. */
export async function startTinyHost(port = 0): Promise<TinyHost> {
  const state: HostState = {
    envelopes: [],
    requests: [],
    objects: new Map(),
    staged: new Map(),
    begins: new Map(),
    intercept: () => undefined,
    knows: () => true,
    takesTogether: () => true,
    delay: () => 0,
    needs: {},
    holds: undefined,
  };
  const server = createServer((request, response) => {
    handle(state, request, response).catch((error: unknown) => {
      response.writeHead(500, { "content-type": "application/json" });
      response.end(JSON.stringify({ detail: String(error) }));
    });
  });
  await new Promise<void>((settle) => server.listen(port, "127.0.0.1", settle));
  const at = (server.address() as AddressInfo).port;
  return Object.assign(state, {
    url: `http://127.0.0.1:${at}`,
    port: at,
    forgetStaged: () => state.staged.clear(),
    forget(isForgotten: (name: string) => boolean) {
      for (const name of [...state.objects.keys()]) if (isForgotten(name)) state.objects.delete(name);
    },
    restore: (generation: Generation, id: TxId) => restore(state, generation, id),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((settle) => server.close(settle));
    },
  });
}

async function handle(state: HostState, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = "", url = "" } = request;
  state.requests.push(`${method} ${url}`);
  const odd = state.intercept(method, url);
  if (typeof odd === "object") {
    response.writeHead(odd.status, odd.headers);
    response.end(odd.body);
    return;
  }
  const body = await bodyOf(request);
  const delayMs = state.delay();
  if (delayMs > 0) await setTimeout(delayMs);
  const answer = await answerTo(state, method, url, body);
  if (odd === "lose") {
    request.socket.destroy();
    return;
  }
  response.writeHead(answer.status, answer.headers);
  response.end(answer.body);
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

async function answerTo(state: HostState, method: string, url: string, body: Uint8Array): Promise<OddAnswer> {
  const digest = /^\/v1\/stage\/([0-9a-f]{64})\?database=/.exec(url)?.[1];
  if (method === "PUT" && digest !== undefined) {
    if (createHash("sha256").update(body).digest("hex") !== digest) return { status: 422 };
    const isThere = state.staged.has(digest);
    state.staged.set(digest, body);
    return { status: isThere ? 200 : 201 };
  }
  if (method === "POST" && url === "/v1/ingest") return ingest(state, body);
  if (method === "POST" && url === "/v1/heartbeats" && state.takesTogether !== undefined) {
    return heartbeats(state, body, state.takesTogether);
  }
  if (method === "GET" && url.endsWith("/needs")) {
    return { status: 200, body: Buffer.from(await needsOf(state)).toString() };
  }
  const asked = /\/holds\?generation=([0-9a-f]{16})&txid=([0-9a-f]{16})&stateHash=([0-9a-f]{32})$/.exec(url);
  if (method === "GET" && asked !== null && state.holds !== undefined) {
    const [, generation = "", id = "", stateHash = ""] = asked;
    const point = { generation: parseGeneration(generation), txId: parseTxId(id) };
    const holds = await state.holds({ ...point, stateHash: parseStateHash(stateHash) });
    return { status: 200, body: JSON.stringify({ version: 1, holds }) };
  }
  return { status: 404 };
}

function ingest(state: HostState, body: Uint8Array): OddAnswer {
  const envelope = decodeEnvelope(body);
  const arrived: [string, Uint8Array][] = [];
  const strange = envelope.items.find(({ name }) => state.knows(name) !== true);
  if (strange !== undefined) {
    if (state.knows(strange.name) === "fork") return { status: 409, body: JSON.stringify({ code: "fork" }) };
    const detail = `object ${strange.name} is no segment or snapshot`;
    return { status: 400, body: JSON.stringify({ code: "bad-name", detail }) };
  }
  for (const item of envelope.items) {
    const bytes = "bytes" in item ? item.bytes : state.staged.get(item.digest);
    if (bytes === undefined) return { status: 503, body: JSON.stringify({ detail: "stage it again" }) };
    arrived.push([item.name, bytes]);
  }
  for (const [name, bytes] of arrived) put(state, name, bytes);
  const begin = state.begins.get(envelope.begin.generation);
  if (begin === undefined) state.begins.set(envelope.begin.generation, envelope.begin);
  else assert.deepEqual(envelope.begin, begin);
  state.envelopes.push(envelope);
  return { status: 202 };
}

function heartbeats(state: HostState, body: Uint8Array, takes: (database: string) => boolean): OddAnswer {
  const refused: string[] = [];
  for (const { bytes, envelope } of decodeHeartbeats(body)) {
    if (takes(envelope.database)) ingest(state, bytes);
    else refused.push(envelope.database);
  }
  return { status: 200, body: JSON.stringify({ refused }) };
}

/** The same name always holds the same transactions and states, be the bytes as they may. */
function put(state: HostState, name: string, bytes: Uint8Array): void {
  const before = state.objects.get(name);
  if (before !== undefined && parseObjectName(name)?.kind === "segment") {
    assert.deepEqual(decodeSegment(bytes).header.attrs, decodeSegment(before).header.attrs);
  }
  state.objects.set(name, bytes);
}

async function needsOf(state: HostState): Promise<Uint8Array> {
  const generations: [Generation, GenerationNeeds][] = [];
  for (const generation of state.begins.keys()) {
    const storedTxId = await newestRestorable(state, generation);
    const { missing = [], snapshot = false } = state.needs;
    generations.push([generation, { storedTxId, missing, snapshot }]);
  }
  const newestEpoch = Math.max(0, ...[...state.begins.values()].map(({ epoch }) => epoch));
  const { buildsSnapshots } = state.needs;
  return formatNeeds({
    version: 1,
    newestEpoch,
    generations: Object.fromEntries(generations),
    buildsSnapshots,
  });
}

interface Step {
  readonly name: string;
  readonly from: bigint;
  readonly to: bigint;
}

function segmentsOf(state: HostState, generation: Generation): Step[] {
  return [...state.objects.keys()].flatMap((text) => {
    const name = parseObjectName(text);
    if (name?.kind !== "segment" || name.generation !== generation) return [];
    return [{ name: text, from: name.firstTxId - 1n, to: name.lastTxId }];
  });
}

function snapshotsOf(
  state: HostState,
  generation: Generation,
): { readonly name: string; readonly at: bigint }[] {
  return [...state.objects.keys()].flatMap((text) => {
    const name = parseObjectName(text);
    return name?.kind === "snapshot" && name.generation === generation ? [{ name: text, at: name.txId }] : [];
  });
}

/** The segments that lead from a state to another, or as far as they lead. */
function chain(steps: readonly Step[], from: bigint, to: bigint): Step[] {
  const taken: Step[] = [];
  for (let at = from; at < to; ) {
    const next = steps.filter((step) => step.from <= at && step.to > at && step.to <= to);
    const [best] = next.sort((a, b) => Number(b.to - a.to));
    if (best === undefined) break;
    taken.push(best);
    at = best.to;
  }
  return taken;
}

async function newestRestorable(state: HostState, generation: Generation): Promise<TxId | null> {
  const parent = state.begins.get(generation)?.parent;
  const starts = snapshotsOf(state, generation).map(({ at }) => at);
  // One that began with a snapshot does not stand on its parent, whose transactions may even be higher.
  if (parent && starts.length === 0) starts.push(parent.txId);
  if (starts.length === 0) return null;
  const steps = segmentsOf(state, generation);
  const ends = starts.map((at) => chain(steps, at, 2n ** 63n).at(-1)?.to ?? at);
  return txId(ends.sort((a, b) => Number(b - a))[0] ?? 0n);
}

async function restore(state: HostState, generation: Generation, id: TxId): Promise<StateHash> {
  const pages = await pagesAt(state, generation, id);
  return pages.hash;
}

interface Restored {
  readonly pages: Map<number, Uint8Array>;
  readonly hash: StateHash;
}

/** Applies segments over a start; which pages are live the model's own rule says: those whose sum is the post. */
async function pagesAt(state: HostState, generation: Generation, id: bigint): Promise<Restored> {
  const starts = snapshotsOf(state, generation).filter(({ at }) => at <= id);
  const steps = segmentsOf(state, generation);
  for (const { name, at } of starts.sort((a, b) => Number(b.at - a.at))) {
    const taken = chain(steps, at, id);
    if ((taken.at(-1)?.to ?? at) === id) return apply(state, await snapshotPages(state, name), taken);
  }
  const parent = state.begins.get(generation)?.parent;
  assert.ok(parent, `${generation} ${id}: nothing to start from`);
  const taken = chain(steps, parent.txId, id);
  assert.equal(taken.at(-1)?.to ?? parent.txId, id, `${generation} ${id}: a gap`);
  return apply(state, await pagesAt(state, parent.generation, parent.txId), taken);
}

async function snapshotPages(state: HostState, name: string): Promise<Restored> {
  const decoded = decodeSnapshot([state.objects.get(name) as Uint8Array]);
  const chunks: Uint8Array[] = [];
  for await (const chunk of decoded.raw) chunks.push(chunk.slice());
  const header = await decoded.header;
  const raw = Buffer.concat(chunks);
  const pages = new Map<number, Uint8Array>();
  for (let page = 2; page * header.pageSize < raw.length; page += 1) {
    pages.set(page, raw.subarray(page * header.pageSize, (page + 1) * header.pageSize));
  }
  assert.ok(header.stateHash !== undefined);
  return { pages, hash: header.stateHash };
}

function apply(state: HostState, from: Restored, steps: readonly Step[]): Restored {
  const pages = new Map(from.pages);
  let { hash } = from;
  for (const { name } of steps) {
    const { header, pages: frames } = decodeSegment(state.objects.get(name) as Uint8Array);
    for (const frame of frames) {
      for (let block = 0; block <= frame.overflow; block += 1) {
        const bytes = frame.data.subarray(block * header.pageSize, (block + 1) * header.pageSize);
        pages.set(Number(frame.id) + block, bytes.slice());
      }
    }
    hash = segmentState(header).post ?? hash;
  }
  return { pages, hash };
}

/** Makes it a host that looks for the points it is asked for, as one does that builds snapshots. */
export function holdWhatRestores(host: TinyHost): void {
  host.holds = ({ generation, txId: id, stateHash }) =>
    host.restore(generation, id).then(
      (found) => found === stateHash,
      () => false,
    );
}

/** Restores a point and asserts that its live pages are those of the truth. */
export async function assertRestores(
  host: TinyHost,
  generation: Generation,
  truth: {
    readonly txId: number;
    readonly pages: ReadonlyMap<number, Uint8Array>;
    readonly stateHash: StateHash;
  },
): Promise<void> {
  const restored = await pagesAt(host as unknown as HostState, generation, BigInt(truth.txId));
  assert.equal(restored.hash, truth.stateHash, `${generation} ${truth.txId}: the state hash it was given`);
  const live = new Map([...truth.pages.keys()].map((id) => [id, restored.pages.get(id) ?? new Uint8Array()]));
  assert.equal(tableOf(live).stateHash(), truth.stateHash, `${generation} ${truth.txId}: its live pages`);
}
