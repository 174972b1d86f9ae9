// What only SST's secrets hold. Both are empty until somebody sets them, so that a first deployment asks for nothing.

import type { Deployment } from "./deployment.ts";

export interface Secrets {
  /** A JSON array of the records that `pageferry token create --record` prints: hashes, no tokens. */
  readonly tokens: sst.Secret;
  /** An Ed25519 private key in PEM or base64; manifests are signed with it. */
  readonly manifestKey: sst.Secret;
}

export function createSecrets({ name }: Deployment): Secrets {
  return {
    tokens: new sst.Secret(`${name}Tokens`, "[]"),
    manifestKey: new sst.Secret(`${name}ManifestKey`, ""),
  };
}
