// The clients of AWS are not installed with the agent, for who sends over HTTP needs none of them; where they are, they are quiet.
import { PageferryError } from "@pageferry/format";

/** The error for a client that cannot be loaded. */
export function notInstalled(library: string, cause: unknown): PageferryError {
  return new PageferryError("bad-config", `an SQS queue needs ${library}, which cannot be loaded`, {
    cause,
    hint: "Install both: npm install @aws-sdk/client-sqs @aws-sdk/client-s3",
  });
}

/** Takes the words that the clients would write to the console; what matters in them comes as an error, too. */
export const silentClient = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
};
