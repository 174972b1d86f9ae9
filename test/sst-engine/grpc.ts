// gRPC, as the engine speaks it to its plugins, by the libraries that SST brings along. Typed as far as it is used.

import { createRequire } from "node:module";
import { join } from "node:path";
import { platform } from "../infra/platform.ts";

const require = createRequire(join(platform, "package.json"));

export type Values = Record<string, unknown>;

/** A message as protoc generates it: a getter and a setter for every field. */
export interface Message {
  readonly [accessor: string]: (...values: readonly unknown[]) => unknown;
}

type Call = (
  call: { readonly request: Message },
  callback: (error: unknown, answer?: Message) => void,
) => void;

interface Grpc {
  readonly Server: new (
    options: Readonly<Record<string, unknown>>,
  ) => {
    addService(service: unknown, calls: Readonly<Record<string, Call>>): void;
    bindAsync(
      address: string,
      credentials: unknown,
      bound: (error: Error | null, port: number) => void,
    ): void;
  };
  readonly ServerCredentials: { createInsecure(): unknown };
  readonly status: Readonly<Record<"UNKNOWN", number>>;
}

const grpc: Grpc = require("@grpc/grpc-js");
const {
  Struct: structType,
}: {
  Struct: { fromJavaScript(values: Values): Message };
} = require("google-protobuf/google/protobuf/struct_pb.js");

/** A module of generated messages or services, such as `provider_pb`. */
export function proto(name: string): Readonly<Record<string, new () => Message>> {
  return require(`@pulumi/pulumi/proto/${name}.js`);
}

/** The answer without content. */
export const emptyType: new () => Message = require("google-protobuf/google/protobuf/empty_pb.js").Empty;

/** A message with these fields set. */
export function message(type: (new () => Message) | undefined, fields: Values = {}): Message {
  if (type === undefined) throw new Error("no such message in this version of Pulumi");
  const made = new type();
  for (const [name, value] of Object.entries(fields)) {
    const set = made[`set${name}`];
    if (set === undefined) throw new Error(`no field ${name} in this version of Pulumi`);
    set.call(made, value);
  }
  return made;
}

export function toStruct(values: Values): Message {
  return structType.fromJavaScript(JSON.parse(JSON.stringify(values)));
}

/** A field of a message, of the type that its definition says. */
export function field<Value>(of: Message, name: string): Value {
  const get = of[`get${name}`];
  if (get === undefined) throw new Error(`no field ${name} in this version of Pulumi`);
  return get.call(of) as Value;
}

/** A field that holds any values. */
export function structField(of: Message, name: string): Values {
  return (field<Message | undefined>(of, name)?.toJavaScript?.() ?? {}) as Values;
}

/** How a call is answered; what is thrown is the engine's error. */
export type Handler = (request: Message) => Message | Promise<Message>;

/** Answers on a free port of the loopback, and says which on the first line of the output, where the engine reads it. */
export function serve(service: unknown, handlers: Readonly<Record<string, Handler>>): void {
  const server = new grpc.Server({ "grpc.max_receive_message_length": 2 ** 28 });
  const calls = Object.entries(handlers).map(([name, handler]) => [name, callOf(handler)] as const);
  server.addService(service, Object.fromEntries(calls));
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error !== null) throw error;
    process.stdout.write(`${port}\n`);
  });
}

function callOf(handler: Handler): Call {
  return async ({ request }, callback) => {
    try {
      callback(null, await handler(request));
    } catch (error) {
      callback({ code: grpc.status.UNKNOWN, details: String(error) });
    }
  };
}
