// The signature of a manifest: Ed25519 over its canonical JSON without the signature. A restoring host knows by it that nobody altered what to fetch
// and what must come of it. See docs/format.md#manifest.

import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { canonicalJson } from "../canonical-json.ts";
import { PageferryError } from "../errors.ts";
import { type Manifest, parseManifest } from "../manifest.ts";

/** What stands before the 32 bytes of an Ed25519 key in its DER form (RFC 8410). */
const derPrefix = Buffer.from("302a300506032b6570032100", "hex");
const keyBytes = 32;

/** What a manifest carries. */
interface ManifestSignature {
  readonly algorithm: "ed25519";
  readonly keyId: string;
  /** Base64. */
  readonly value: string;
}

/** A public key as people copy it: base64 of its 32 bytes. */
export function formatManifestKey(key: KeyObject): string {
  return key.export({ type: "spki", format: "der" }).subarray(derPrefix.length).toString("base64");
}

/** Reads a public key: base64 of its 32 bytes or of its DER form, or PEM. Errors: `bad-request`. */
export function parseManifestKey(text: string): KeyObject {
  try {
    if (text.includes("-----BEGIN")) return checkedKey(createPublicKey(text));
    const bytes = Buffer.from(text.trim(), "base64");
    const der = bytes.length === keyBytes ? Buffer.concat([derPrefix, bytes]) : bytes;
    return checkedKey(createPublicKey({ key: der, format: "der", type: "spki" }));
  } catch (cause) {
    throw new PageferryError("bad-request", "manifest key: not an Ed25519 public key, in base64 or PEM", {
      cause,
      hint: "A host keeps its own in `manifest-key.pub` in its data directory.",
    });
  }
}

function checkedKey(key: KeyObject): KeyObject {
  if (key.type === "public" && key.asymmetricKeyType === "ed25519") return key;
  throw new Error(`a ${key.type} key of ${key.asymmetricKeyType}`);
}

/** Names a public key, in 16 hex digits. */
export function manifestKeyId(key: KeyObject): string {
  return createHash("sha256").update(formatManifestKey(key)).digest("hex").slice(0, 16);
}

/** The document with its signature. */
export function signManifest(
  json: Readonly<Record<string, unknown>>,
  privateKey: KeyObject,
): Record<string, unknown> {
  const { signature: _, ...unsigned } = json;
  const value = sign(null, Buffer.from(canonicalJson(unsigned)), privateKey).toString("base64");
  const keyId = manifestKeyId(createPublicKey(privateKey));
  const signature: ManifestSignature = { algorithm: "ed25519", keyId, value };
  return { ...unsigned, signature };
}

/** Reads a manifest that this key signed and that has not expired. Errors: `untrusted`; those of `parseManifest`. */
export function readSignedManifest(bytes: Uint8Array, publicKey: KeyObject, nowMs: number): Manifest {
  const { signature, ...unsigned } = parseObject(bytes);
  const { algorithm, keyId, value } = (signature ?? {}) as Readonly<Partial<Record<string, unknown>>>;
  if (typeof value !== "string" || algorithm !== "ed25519") throw untrusted("it is not signed");
  if (keyId !== manifestKeyId(publicKey)) throw untrusted("it is signed with another key");
  const given = Buffer.from(value, "base64");
  const isWhole = given.toString("base64") === value;
  if (!isWhole || !verify(null, Buffer.from(canonicalJson(unsigned)), publicKey, given))
    throw untrusted("it was altered: its signature does not hold");
  const manifest = parseManifest(bytes);
  const { expiresAtMs = 0 } = manifest;
  if (nowMs >= expiresAtMs) throw untrusted(`it expired at ${new Date(expiresAtMs).toISOString()}`);
  return manifest;
}

function parseObject(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch (cause) {
    throw new PageferryError("corrupt", `manifest: ${bytes.length} bytes that are not JSON`, { cause });
  }
  throw new PageferryError("corrupt", "manifest: no JSON object");
}

function untrusted(why: string): PageferryError {
  return new PageferryError("untrusted", `manifest: ${why}`);
}
