// How a count is said.

/** "1 object", "3 objects"; with the verb in both forms "1 object is", "3 objects are". */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
