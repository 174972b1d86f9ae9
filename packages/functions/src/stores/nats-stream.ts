// What a bucket's stream is set to, and which settings must not hold a backup.

/** A stream as JetStream describes it. */
export interface StreamInfo {
  readonly config: {
    readonly discard?: string;
    readonly max_bytes?: number;
    readonly max_msgs?: number;
    readonly max_msg_size?: number;
    readonly max_msgs_per_subject?: number;
    readonly max_age?: number;
    readonly retention?: string;
    readonly num_replicas?: number;
    readonly allow_direct?: boolean;
    readonly allow_rollup_hdrs?: boolean;
  };
  readonly state: { readonly subjects?: Readonly<Record<string, number>> };
  readonly ts?: string;
  readonly total?: number;
}

/** Why a stream must not hold a backup, and what to change: it forgets on its own, or refuses what objects need. */
export function faultOf(config: StreamInfo["config"]): string | undefined {
  const isBounded = (config.max_bytes ?? -1) > 0 || (config.max_msgs ?? -1) > 0;
  if (config.allow_rollup_hdrs !== true) return "allows no rollups: set allow_rollup_hdrs";
  if (isBounded && config.discard !== "new") return "drops its oldest messages when full: set discard to new";
  if ((config.max_age ?? 0) > 0) return "drops messages when they are old: set max_age to 0";
  if ((config.max_msgs_per_subject ?? -1) > 0) return "drops chunks: set max_msgs_per_subject to -1";
  const isKept = (config.retention ?? "limits") === "limits";
  return isKept ? undefined : "drops what a consumer has read: make it anew with retention limits";
}
