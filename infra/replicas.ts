// What a replica is to a deployment, and what follows from how it is declared: the entry in the functions' configuration, the
// label that names its lane, and whether its address can be reached from outside a VPC.

/** A bucket on AWS or on another S3-compatible service. */
export interface S3Replica {
  readonly type: "s3";
  /** A bucket that is there; without one it is made: versioned, private, TLS only, and kept when the stage is removed. */
  readonly bucket?: string;
  readonly prefix?: string;
  /** The region of a bucket that is there, where it is another one than the functions'. */
  readonly region?: string;
  /** Of another service than AWS: `https://host:port`. It takes `accessKey` and `secretKey`. */
  readonly endpoint?: string;
  readonly accessKey?: string;
  readonly secretKey?: string;
  readonly forcePathStyle?: boolean;
  /** Of a bucket that is made: nobody deletes or replaces a version so long. `COMPLIANCE` binds the account's root, too. */
  readonly objectLock?: { readonly mode: "GOVERNANCE" | "COMPLIANCE"; readonly days: number };
  /** Of a bucket that is made: how long what prune deleted is kept as an older version. Default 7. */
  readonly deletedVersionDays?: number;
  /** Its endpoint is in a private network, although its name does not tell. */
  readonly private?: boolean;
}

/** A NATS JetStream object store. */
export interface NatsReplica {
  readonly type: "nats";
  /** `tls://${NATS_USER}:${NATS_PASSWORD}@nats.example.com:4222`; several servers are parted by commas. */
  readonly url: string;
  readonly bucket: string;
  readonly prefix?: string;
  readonly nkey?: string;
  readonly private?: boolean;
}

/** A directory on an SFTP server. */
export interface SftpReplica {
  readonly type: "sftp";
  readonly host: string;
  readonly port?: number;
  readonly user: string;
  readonly password?: string;
  readonly path: string;
  readonly hostKey: string;
  readonly private?: boolean;
}

/**
 * Where one copy of the archive is kept. In its texts `${NAME}` stands for a secret of the deployment. A `file` replica is
 * refused: the disk of a function is gone when it ends.
 */
export type Replica = S3Replica | NatsReplica | SftpReplica;

/** What the functions' configuration says of a replica; `bucket` is the name of one that was made. */
export function replicaEntry(replica: Replica, bucket?: string): Readonly<Record<string, unknown>> {
  switch (replica.type) {
    case "s3": {
      const { objectLock, deletedVersionDays, private: _, ...entry } = replica;
      return bucket === undefined ? entry : { ...entry, bucket };
    }
    case "nats":
    case "sftp": {
      const { private: _, ...entry } = replica;
      return entry;
    }
  }
}

/** How the functions name a replica, without anybody's password: a lane is found by it. */
export function replicaLabel(replica: Replica, bucket?: string): string {
  switch (replica.type) {
    case "s3": {
      const at = replica.endpoint === undefined ? "" : `?endpoint=${withoutUser(replica.endpoint)}`;
      return `s3://${joined(bucket ?? replica.bucket ?? "", replica.prefix)}${at}`;
    }
    case "nats": {
      const [first = "", ...others] = serversOf(replica.url).map(withoutUser);
      const servers = [first, ...others.map((server) => server.replace(/^[a-z]+:\/\//i, ""))].join(",");
      return `${servers}/${joined(replica.bucket, replica.prefix)}`;
    }
    case "sftp": {
      const host = replica.host.includes(":") ? `[${replica.host}]` : replica.host;
      return `sftp://${host}:${replica.port ?? 22}${replica.path.replace(/^(~\/)?(?!\/)/, "/~/")}`;
    }
  }
}

/** The hosts that a replica is spoken to at; none: AWS itself. */
export function replicaHosts(replica: Replica): readonly string[] {
  switch (replica.type) {
    case "s3":
      return replica.endpoint === undefined ? [] : [hostOf(replica.endpoint)];
    case "nats":
      return serversOf(replica.url).map(hostOf);
    case "sftp":
      return [replica.host];
  }
}

/** Whether a replica is in a network that functions reach only from within a VPC. */
export function isPrivate(replica: Replica): boolean {
  return replica.private ?? replicaHosts(replica).some(isPrivateHost);
}

/** RFC 1918, link-local and unique local addresses, and the names that nobody outside resolves. */
function isPrivateHost(host: string): boolean {
  return (
    /^(10|127|169\.254|192\.168|172\.(1[6-9]|2\d|3[01]))\./.test(host) ||
    /^\[?(f[cd][0-9a-f]{2}|fe80|):/i.test(host) ||
    /(^|\.)(internal|local|lan|localhost|home\.arpa)$/i.test(host)
  );
}

function serversOf(urls: string): readonly string[] {
  return urls.split(/,(?=[a-z]+:\/\/|[^@]*$)/i).map((url) => url.trim());
}

function hostOf(url: string): string {
  const [authority = ""] = withoutUser(url)
    .replace(/^[a-z]+:\/\//i, "")
    .split(/[/?#]/, 1);
  return authority.replace(/:\d+$/, "");
}

function withoutUser(url: string): string {
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1");
}

function joined(bucket: string, prefix = ""): string {
  return prefix === "" ? bucket : `${bucket}/${prefix}`;
}
