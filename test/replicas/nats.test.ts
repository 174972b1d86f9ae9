// The NATS object store: the contract, and what is peculiar to it, on a real server.
import { after, before, suite } from "node:test";
import { conformance } from "@pageferry/functions/conformance";
import { natsStore } from "@pageferry/functions/stores/nats";
import { type NatsServerProcess, natsMissing, startNats } from "../servers/nats.ts";

let count = 0;
const freshBucket = () => `bucket-${process.pid}-${count++}`;

suite("on a NATS server:", { skip: natsMissing, concurrency: false }, () => {
  let server: NatsServerProcess;
  before(async () => {
    server = await startNats();
  });
  after(() => server[Symbol.asyncDispose]());

  conformance("NATS", {
    open: () => natsStore({ url: server.url, bucket: freshBucket(), createBucket: true }),
  });
});
