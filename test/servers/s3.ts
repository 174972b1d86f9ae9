// versitygw: an S3 server over a directory, with write-once, versions, object lock, users and TLS.

import { mkdir, writeFile } from "node:fs/promises";
import { get as httpGet } from "node:http";
import { get as httpsGet } from "node:https";
import { dirname, join } from "node:path";
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import type { S3StoreOptions } from "@pageferry/functions/stores/s3";
import { runProcess, startProcess } from "../processes.ts";
import { freePort, temporaryDirectory } from "../temporary.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { type Server, serverHome, skippedWithout, startServer } from "./server.ts";

const program = join(serverHome("versitygw"), "versitygw");

/** Why the tests that need versitygw are skipped; false where they run. */
export const withoutS3Server = skippedWithout(program);

const accessKey = "pageferry-root";
const secretKey = "root-secret-of-the-tests";

export interface S3ServerOptions {
  readonly tls?: boolean;
  /** Where objects lie. Default a temporary directory; a small disk for one that is full. */
  readonly directory?: string;
}

export interface NewBucket {
  readonly versioned?: boolean;
  /** Object lock, and this default retention: nobody removes a version for a day. */
  readonly locked?: "GOVERNANCE" | "COMPLIANCE";
}

/** What a test asks of a server beside a store: its buckets, and what lies hidden in them. */
export interface S3Admin {
  readonly endpoint: string;
  /** The keys of a replica's entry for this server and one of its buckets. */
  entry(bucket: string): S3StoreOptions;
  /** Makes a bucket of a new name, or of this one. */
  makeBucket(options?: NewBucket, name?: string): Promise<string>;
  /** Removes a bucket with all that is in it. */
  removeBucket(bucket: string): Promise<void>;
  /** Keys of uploads that were begun and not ended. */
  uploads(bucket: string): Promise<string[]>;
  /** Versions that are kept of a key, and delete markers. */
  versions(bucket: string, key: string): Promise<{ readonly versions: number; readonly markers: number }>;
  readonly client: S3Client;
}

export interface S3Server extends Server, S3Admin {
  readonly certificates: Certificates | undefined;
  /** Objects of one byte, laid into the server's directory: quicker than by a thousand requests. */
  place(bucket: string, names: readonly string[]): Promise<void>;
  /** Makes a user who may do everything with buckets, or takes it away. */
  user(action: "create" | "delete", name: string, secret: string): Promise<void>;
}

/** Starts versitygw on a free port. */
export async function startS3(options: S3ServerOptions = {}): Promise<S3Server> {
  const directory = await temporaryDirectory();
  const port = await freePort();
  const certificates = options.tls === true ? await makeCertificates(directory.path) : undefined;
  const root = options.directory ?? directory.path;
  const places = {
    data: join(root, "data"),
    versions: join(root, "versions"),
    users: directory.file("users"),
  };
  for (const place of Object.values(places)) await mkdir(place, { recursive: true });
  const endpoint = `${certificates === undefined ? "http" : "https"}://127.0.0.1:${port}`;
  const args = [
    ...["--port", `127.0.0.1:${port}`, "--access", accessKey, "--secret", secretKey],
    ...["--health", "/_/health", "--quiet", "--keep-alive", "--iam-dir", places.users, "--iam-cache-disable"],
    ...(certificates === undefined ? [] : ["--cert", certificates.cert, "--key", certificates.key]),
    ...["posix", "--versioning-dir", places.versions, places.data],
  ];
  const server = await startServer({
    port,
    start: () => startProcess(program, args),
    isReady: () => isHealthy(`${endpoint}/_/health`),
  });
  const admin = s3Admin({
    endpoint,
    keys: { accessKey, secretKey },
    rootCAs: certificates === undefined ? [] : [certificates.ca],
  });
  return {
    ...server,
    ...admin,
    certificates,
    async place(bucket, names) {
      for (const name of names) {
        const path = join(places.data, bucket, name);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, "x");
      }
    },
    async user(action, name, secret) {
      const keys = action === "create" ? ["--secret", secret, "--role", "admin"] : [];
      const login = ["admin", "--access", accessKey, "--secret", secretKey, "--endpoint-url", endpoint];
      const done = await runProcess(program, [...login, `${action}-user`, "--access", name, ...keys]);
      if (done.code !== 0) throw new Error(`${action}-user: ${done.stdout}${done.stderr}`);
    },
    async [Symbol.asyncDispose]() {
      admin.client.destroy();
      await server[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

function isHealthy(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const answered = (answer: { statusCode?: number | undefined; resume(): unknown }) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    };
    const asked = url.startsWith("https:")
      ? httpsGet(url, { rejectUnauthorized: false, agent: false }, answered)
      : httpGet(url, { agent: false }, answered);
    asked.on("error", () => resolve(false));
  });
}

interface AdminOptions {
  readonly endpoint: string;
  readonly keys: { readonly accessKey: string; readonly secretKey: string };
  readonly rootCAs: readonly string[];
}

/** A server's buckets from beside, by the SDK alone. It speaks plain http, so a server with TLS has none of it. */
export function s3Admin({ endpoint, keys, rootCAs }: AdminOptions): S3Admin {
  let made = 0;
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey },
    requestChecksumCalculation: "WHEN_REQUIRED",
    ...(rootCAs.length === 0 ? {} : { requestHandler: { httpsAgent: { rejectUnauthorized: false } } }),
  });
  const admin: S3Admin = {
    endpoint,
    client,
    entry: (bucket) => ({ bucket, endpoint, ...keys, rootCAs: [...rootCAs] }),
    async makeBucket({ versioned = false, locked } = {}, name = `test-${process.pid}-${++made}`) {
      await client.send(
        new CreateBucketCommand({
          Bucket: name,
          ...(locked === undefined ? {} : { ObjectLockEnabledForBucket: true }),
        }),
      );
      if (versioned) {
        const VersioningConfiguration = { Status: "Enabled" } as const;
        await client.send(new PutBucketVersioningCommand({ Bucket: name, VersioningConfiguration }));
      }
      if (locked !== undefined) {
        const Rule = { DefaultRetention: { Mode: locked, Days: 1 } };
        const ObjectLockConfiguration = { ObjectLockEnabled: "Enabled", Rule } as const;
        await client.send(new PutObjectLockConfigurationCommand({ Bucket: name, ObjectLockConfiguration }));
      }
      return name;
    },
    async removeBucket(Bucket) {
      const { Versions = [], DeleteMarkers = [] } = await client.send(
        new ListObjectVersionsCommand({ Bucket }),
      );
      for (const { Key, VersionId } of [...Versions, ...DeleteMarkers]) {
        const version = VersionId === undefined || VersionId === "null" ? {} : { VersionId };
        await client.send(new DeleteObjectCommand({ Bucket, Key, ...version }));
      }
      await client.send(new DeleteBucketCommand({ Bucket }));
    },
    async uploads(Bucket) {
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
      return Uploads.map(({ Key }) => Key ?? "");
    },
    async versions(Bucket, Key) {
      const { Versions = [], DeleteMarkers = [] } = await client.send(
        new ListObjectVersionsCommand({ Bucket, Prefix: Key }),
      );
      return { versions: Versions.length, markers: DeleteMarkers.length };
    },
  };
  return admin;
}
