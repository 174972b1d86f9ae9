// The clients of AWS are not installed with the agent: who sends over HTTP needs none of them.
import { PageferryError } from "@pageferry/format";

/** The error for a client that cannot be loaded. */
export function notInstalled(library: string, cause: unknown): PageferryError {
  return new PageferryError("bad-config", `an SQS queue needs ${library}, which cannot be loaded`, {
    cause,
    hint: "Install both: npm install @aws-sdk/client-sqs @aws-sdk/client-s3",
  });
}
