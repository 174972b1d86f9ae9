// The key that a host signs manifests with: made at its first start, kept where only its owner reads it, the public half beside it for people.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { chmod, readFile } from "node:fs/promises";
import { join } from "node:path";
import { isPageferryError, PageferryError } from "@pageferry/format";
import {
  formatManifestKey,
  fromFileSystem,
  manifestKeyId,
  signManifest,
  writeFileDurable,
} from "@pageferry/format/node";

/** Signs manifests. */
export interface ManifestSigner {
  /** Base64 of the public key's 32 bytes. */
  readonly publicKey: string;
  readonly keyId: string;
  sign(json: Readonly<Record<string, unknown>>): Record<string, unknown>;
}

/** Opens the key in `<dataDir>/manifest-key.pem`, made there if there is none. Errors: `bad-config` for a file that is no such key. */
export async function openManifestSigner(dataDir: string): Promise<ManifestSigner> {
  const path = join(dataDir, "manifest-key.pem");
  const signer = manifestSigner(parseKey((await readKey(path)) ?? (await makeKey(path)), path));
  await writeFileDurable(join(dataDir, "manifest-key.pub"), Buffer.from(`${signer.publicKey}\n`), {
    ...{ overwrite: true, mode: 0o644 },
  });
  return signer;
}

/** Signs with an Ed25519 private key that is at hand. */
export function manifestSigner(privateKey: KeyObject): ManifestSigner {
  const key = createPublicKey(privateKey);
  return {
    publicKey: formatManifestKey(key),
    keyId: manifestKeyId(key),
    sign: (json) => signManifest(json, privateKey),
  };
}

function parseKey(pem: string, path: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === "ed25519") return key;
    throw new Error(`a key of ${key.asymmetricKeyType}`);
  } catch (cause) {
    throw new PageferryError("bad-config", `${path}: no Ed25519 private key in PEM`, {
      cause,
      hint: "Put the key back, or remove the file: a new one is made then, and who checks manifests needs its public half.",
    });
  }
}

async function readKey(path: string): Promise<string | undefined> {
  try {
    const pem = await readFile(path, "utf8");
    // Somebody may have copied it with a wider mode.
    await chmod(path, 0o600).catch(() => undefined);
    return pem;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fromFileSystem(error, `reading ${path}`);
  }
}

async function makeKey(path: string): Promise<string> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  try {
    await writeFileDurable(path, Buffer.from(pem));
    return pem;
  } catch (error) {
    if (!isPageferryError(error, "exists")) throw error;
    return (await readKey(path)) ?? pem;
  }
}
