// JSON schemas in words, as a person reads a type.

/** What of a schema is read. */
export interface SchemaJson {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly SchemaJson[];
  readonly items?: SchemaJson;
  readonly properties?: Readonly<Record<string, SchemaJson>>;
  readonly additionalProperties?: SchemaJson | boolean;
  readonly required?: readonly string[];
  readonly description?: string;
  readonly examples?: readonly unknown[];
}

/** The name of the schema that is meant; `undefined` for one that stands here. */
export function nameOfRef({ $ref }: SchemaJson): string | undefined {
  return $ref?.split("/").at(-1);
}

/** Such as "list of Point", or "integer or null". */
export function typeOf(schema: SchemaJson): string {
  const name = nameOfRef(schema);
  if (name !== undefined) return name;
  const { anyOf, items, properties, additionalProperties, format, type } = schema;
  if (anyOf !== undefined) return anyOf.map(typeOf).join(" or ");
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (items !== undefined) return `list of ${typeOf(items)}`;
  if (properties !== undefined) return `{ ${Object.keys(properties).join(", ")} }`;
  if (typeof additionalProperties === "object") return `map to ${typeOf(additionalProperties)}`;
  if (format === "date-time") return "time";
  if (format === "binary") return "bytes";
  return typeof type === "string" ? type : (type?.join(" or ") ?? "anything");
}
