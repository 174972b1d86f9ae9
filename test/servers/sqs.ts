// SQS from beside, by the SDK alone: queues of a test, and what lies in them.

import {
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  type Message,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";

/** The account of queues at ministack. */
export const sqsAccount = "000000000000";

export interface SqsAdmin {
  readonly client: SQSClient;
  /** Makes a queue and gives its name. */
  makeQueue(name?: string): Promise<string>;
  /** Takes everything out of a queue, until there is nothing more. */
  takeAll(name: string): Promise<Message[]>;
}

/** Queues at a server that speaks SQS. */
export function sqsAdmin(endpoint: string): SqsAdmin {
  let made = 0;
  const client = new SQSClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  return {
    client,
    async makeQueue(name = `test-${process.pid}-${++made}`) {
      await client.send(new CreateQueueCommand({ QueueName: name }));
      return name;
    },
    async takeAll(name) {
      const QueueUrl = `${endpoint}/${sqsAccount}/${name}`;
      const all: Message[] = [];
      for (;;) {
        const { Messages = [] } = await client.send(
          new ReceiveMessageCommand({
            ...{ QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: ["All"] },
          }),
        );
        if (Messages.length === 0) return all;
        all.push(...Messages);
        const Entries = Messages.map(({ ReceiptHandle }, at) => ({ Id: String(at), ReceiptHandle }));
        await client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
      }
    },
  };
}
