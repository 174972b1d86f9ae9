// A client of an S3 server: endpoint, credentials, authorities, time limits. It never tries again by itself.

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { createSecureContext, getCACertificates } from "node:tls";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { PageferryError, type S3ReplicaConfig } from "@pageferry/format";
import { NodeHttpHandler } from "@smithy/node-http-handler";

/** Without an answer or a byte for so long, a server is taken to be away. */
export const timeoutMsDefault = 15_000;

/** More requests than this wait for one another: fan-out makes no more, and a server is not flooded. */
const connectionsMax = 64;

/** The keys of a configuration's entry, and what a host adds to them. */
export type S3StoreOptions = Partial<Omit<S3ReplicaConfig, "type" | "bucket">> & {
  readonly bucket: string;
  /** A stable word for logs. Default `s3://<bucket>/<prefix>`. */
  readonly name?: string;
  /** No progress for so long is `unavailable`. Default 15 s. */
  readonly timeoutMs?: number;
  /** Abort uploads that killed writers left behind, wherever this store lists. For its owner only. Default false. */
  readonly sweep?: boolean;
  readonly now?: () => number;
};

/** Finds contradictions before anything is connected. Errors: `bad-config`. */
export function checkOptions(options: S3StoreOptions): void {
  const { accessKey, secretKey, sessionToken } = options;
  if ((accessKey === undefined) !== (secretKey === undefined)) {
    throw new PageferryError("bad-config", "s3: accessKey and secretKey go together: one of them is missing");
  }
  if (sessionToken !== undefined && accessKey === undefined) {
    throw new PageferryError("bad-config", "s3: sessionToken belongs to an accessKey and a secretKey");
  }
  endpointOf(options);
}

/** Makes a client; nothing is connected yet. Errors: `bad-config` for an authority's file that cannot be read. */
export async function openClient(options: S3StoreOptions): Promise<S3Client> {
  const { accessKey, secretKey, sessionToken, insecure = false, timeoutMs = timeoutMsDefault } = options;
  const endpoint = endpointOf(options);
  const region = regionOf(options);
  const config: S3ClientConfig = {
    requestHandler: createHandler(await readAuthorities(options.rootCAs ?? []), timeoutMs),
    // Decorators try again, where somebody sees it and counts it.
    maxAttempts: 1,
    // Each body goes with its MD5 and its signed SHA-256, which every server checks; newer checksums only some know.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // The handler would send such requests by an agent that does not know our authorities.
    expectContinueHeader: false,
    followRegionRedirects: endpoint === undefined,
    forcePathStyle: options.forcePathStyle ?? endpoint !== undefined,
    ...(endpoint === undefined ? { tls: !insecure } : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(accessKey === undefined || secretKey === undefined
      ? {}
      : {
          credentials: {
            accessKeyId: accessKey,
            secretAccessKey: secretKey,
            ...(sessionToken === undefined ? {} : { sessionToken }),
          },
        }),
  };
  return new S3Client(config);
}

function endpointOf({ endpoint, insecure = false }: S3StoreOptions): string | undefined {
  if (endpoint === undefined) return undefined;
  const url = /^[a-z]+:\/\//i.test(endpoint) ? endpoint : `${insecure ? "http" : "https"}://${endpoint}`;
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) {
    throw new PageferryError("bad-config", "s3: endpoint is no http:// or https:// URL, and no host:port");
  }
  if (insecure && /^https:/i.test(url)) {
    throw new PageferryError(
      "bad-config",
      "s3: insecure speaks plain http, and the endpoint is an https:// URL",
      {
        hint: "Leave insecure out. For a private authority name its file in rootCAs.",
      },
    );
  }
  return url;
}

/** Servers of one's own mostly have no region, or take this one. Without an endpoint the SDK asks AWS's own files, too. */
function regionOf({ region, endpoint }: S3StoreOptions): string | undefined {
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  return region ?? AWS_REGION ?? AWS_DEFAULT_REGION ?? (endpoint === undefined ? undefined : "us-east-1");
}

/** The authorities that Node trusts, and those of the files. */
async function readAuthorities(files: readonly string[]): Promise<string[] | undefined> {
  if (files.length === 0) return undefined;
  const read = async (file: string) => {
    try {
      const pem = await readFile(file, "utf8");
      // What is no certificate would be passed over in silence, and every connection refused later.
      new X509Certificate(pem);
      return pem;
    } catch (cause) {
      throw new PageferryError("bad-config", `s3: rootCAs: ${file} cannot be read, or is no certificate`, {
        cause,
      });
    }
  };
  return [...getCACertificates("default"), ...(await Promise.all(files.map(read)))];
}

/**
 * Requests with a limit on silence. Reading an object has none here: there a slow reader is silent, too, and the stream
 * that it reads has a limit of its own.
 */
function createHandler(ca: string[] | undefined, timeoutMs: number): NodeHttpHandler {
  const agents = {
    httpAgent: new HttpAgent({ keepAlive: true, maxSockets: connectionsMax }),
    httpsAgent: new HttpsAgent({
      keepAlive: true,
      maxSockets: connectionsMax,
      // Read once: hundreds of certificates, for each connection, cost more than the connection.
      ...(ca === undefined ? {} : { secureContext: createSecureContext({ ca }) }),
    }),
  };
  const handler = new NodeHttpHandler({ ...agents, connectionTimeout: timeoutMs, socketTimeout: timeoutMs });
  const reading = new NodeHttpHandler({ ...agents, connectionTimeout: timeoutMs, socketTimeout: 0 });
  const handle = handler.handle.bind(handler);
  handler.handle = (request, options) =>
    request.query?.["x-id"] === "GetObject" ? reading.handle(request, options) : handle(request, options);
  return handler;
}
