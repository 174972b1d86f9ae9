// The style sheet and the script as they are served: under names made from what is in them, so that browsers keep them for as long as they like.

import { createHash } from "node:crypto";
import { script } from "./script.ts";
import { styles } from "./styles.ts";

interface Asset {
  readonly path: string;
  readonly type: string;
  readonly etag: string;
  readonly text: string;
}

function assetOf(extension: string, type: string, text: string): Asset {
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 16);
  return { path: `/assets/page-${hash}.${extension}`, type, etag: `"${hash}"`, text };
}

export const styleSheet = assetOf("css", "text/css; charset=utf-8", styles);

export const pageScript = assetOf("js", "text/javascript; charset=utf-8", script);

const headers = (asset: Asset) => ({
  "content-type": asset.type,
  "cache-control": "public, max-age=31536000, immutable",
  etag: asset.etag,
});

/** The answer to a request for one; `undefined`: there is no such. */
export function answerAsset(path: string, ifNoneMatch: string | undefined): Response | undefined {
  const asset = [styleSheet, pageScript].find((one) => one.path === path);
  if (asset === undefined) return undefined;
  return ifNoneMatch === asset.etag
    ? new Response(null, { status: 304, headers: headers(asset) })
    : new Response(asset.text, { headers: headers(asset) });
}
