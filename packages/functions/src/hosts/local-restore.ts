// What a host in one process needs to send databases: its key for manifests, and a place where databases are put together.

import { join } from "node:path";
import { type ManifestSigner, openManifestSigner } from "../manifest-key.ts";
import { createRestoredImages, type RestoredImages } from "../restored-images.ts";

export interface LocalRestore extends AsyncDisposable {
  readonly signer: ManifestSigner;
  readonly images: RestoredImages;
}

export async function openLocalRestore(dataDir: string): Promise<LocalRestore> {
  const signer = await openManifestSigner(dataDir);
  const images = createRestoredImages({ scratchDir: join(dataDir, "scratch") });
  return { signer, images, [Symbol.asyncDispose]: async () => images.close() };
}
