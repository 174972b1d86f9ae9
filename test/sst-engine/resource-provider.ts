// A provider for the engine that makes nothing: what it is given comes back, with what AWS would add (test/infra/provider.ts). In a
// preview what AWS would add is not known yet, as with the real one. The engine starts it, once for each package of resources.

import { isDeepStrictEqual } from "node:util";
import type { MockResource } from "../infra/platform.ts";
import { answer, stateOf } from "../infra/provider.ts";
import { named, namingProperty, refusals, unknown } from "./aws-rules.ts";
import { note } from "./cloud.ts";
import {
  emptyType,
  field,
  type Message,
  message,
  proto,
  serve,
  structField,
  toStruct,
  type Values,
} from "./grpc.ts";

/** How the engine writes an asset or an archive; its path is the matter of a machine. */
const assetMarks = ["c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"];
const markProperty = "4dabf18193072939515e22adb298388d";

/** The version that it stands in for. */
const [version = ""] = process.argv.slice(2);
const answers = proto("provider_pb");
const changes = { none: 1, some: 2 };

serve(proto("provider_grpc_pb").ResourceProviderService, {
  handshake: () => message(answers.ProviderHandshakeResponse),
  getPluginInfo: () => message(proto("plugin_pb").PluginInfo, { Version: version }),
  getSchema: () => message(answers.GetSchemaResponse, { Schema: "{}" }),
  checkConfig: (request) => message(answers.CheckResponse, { Inputs: field(request, "News") }),
  diffConfig: () => message(answers.DiffResponse, { Changes: changes.none }),
  configure: () => message(answers.ConfigureResponse, { Supportspreview: true }),
  cancel: () => message(emptyType),
  attach: () => message(emptyType),
  invoke(request) {
    const inputs = structField(request, "Args");
    return message(answers.InvokeResponse, {
      Return: toStruct(answer({ token: field<string>(request, "Tok"), inputs })),
    });
  },
  check,
  diff,
  create,
  update,
  read: (request) =>
    message(answers.ReadResponse, {
      Id: field<string>(request, "Id"),
      Properties: field(request, "Properties"),
    }),
  delete(request) {
    note({ what: "delete", ...identityOf(request), id: field<string>(request, "Id") });
    return message(emptyType);
  },
});

function check(request: Message): Message {
  const { type, name } = identityOf(request);
  const seed = field<Uint8Array>(request, "Randomseed_asU8");
  const olds = structField(request, "Olds");
  const inputs = named(type, name, structField(request, "News"), olds, seed);
  const failures = refusals(type, inputs).map(({ property, reason }) =>
    message(answers.CheckFailure, { Property: property, Reason: reason }),
  );
  return message(answers.CheckResponse, { Inputs: toStruct(inputs), FailuresList: failures });
}

function diff(request: Message): Message {
  const olds = structField(request, "OldInputs");
  const news = structField(request, "News");
  const changed = [...new Set([...Object.keys(olds), ...Object.keys(news)])].filter(
    (key) => !isDeepStrictEqual(comparable(olds[key]), comparable(news[key])),
  );
  const naming = namingProperty(identityOf(request).type);
  return message(answers.DiffResponse, {
    Changes: changed.length === 0 ? changes.none : changes.some,
    DiffsList: changed,
    ReplacesList: changed.filter((key) => key === naming),
  });
}

function create(request: Message): Message {
  const resource: MockResource = {
    ...identityOf(request),
    inputs: structField(request, "Properties"),
  };
  const { id, state } = stateOf(resource);
  if (field<boolean>(request, "Preview")) {
    return message(answers.CreateResponse, {
      Properties: toStruct({ ...yetUnknown(state), ...resource.inputs }),
    });
  }
  note({ what: "create", type: resource.type, name: resource.name, id });
  return message(answers.CreateResponse, { Id: id, Properties: toStruct(state) });
}

function update(request: Message): Message {
  const resource: MockResource = { ...identityOf(request), inputs: structField(request, "News") };
  if (!field<boolean>(request, "Preview")) {
    note({ what: "update", type: resource.type, name: resource.name, id: field<string>(request, "Id") });
  }
  return message(answers.UpdateResponse, { Properties: toStruct(stateOf(resource).state) });
}

function yetUnknown(state: Values): Values {
  return Object.fromEntries(Object.keys(state).map((key) => [key, unknown]));
}

/** A URN ends with the types of its parents, its own type, and its name. */
function identityOf(request: Message): { readonly type: string; readonly name: string } {
  const [, , types = "", ...name] = field<string>(request, "Urn").split("::");
  return { type: types.split("$").at(-1) ?? "", name: name.join("::") };
}

/** What AWS compares: of an asset its content. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== "object" || value === null) return value;
  const values = value as Values;
  if (assetMarks.includes(String(values[markProperty]))) return { asset: values.hash };
  return Object.fromEntries(Object.entries(values).map(([key, inner]) => [key, comparable(inner)]));
}
