// What a database's source goes on from, at the start of an agent.
import { isPageferryError } from "@pageferry/format";
import type { DatabaseState } from "./database-state.ts";
import { openReference } from "./reference.ts";
import type { CaptureReference } from "./sources/capture-event.ts";
import { inUpkeep, rollCheckpoint } from "./upkeep.ts";

/** What the source goes on from; without a reference it begins anew. */
export interface Past {
  readonly reference: CaptureReference | undefined;
}

/**
 * Where the past cannot be proved a generation begins, and that is told. A disk that is full says nothing of the past: `undefined`,
 * it is to be asked again.
 */
export async function readPast(state: DatabaseState): Promise<Past | undefined> {
  try {
    return { reference: await referenceOf(state) };
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    if (error.remedy === "retry") {
      state.alarms.raiseError("shadow", error);
      return;
    }
    state.shared.logger.warn(
      { database: state.place.name, err: error },
      "the past cannot be proved, a generation begins",
    );
    return { reference: undefined };
  }
}

async function referenceOf(state: DatabaseState): Promise<CaptureReference | undefined> {
  const open = () => openReference(state.place.directory, state.cursor.value(), state.chapters);
  try {
    return await open();
  } catch (error) {
    if (!isPageferryError(error, "disk-full")) throw error;
    // As a checkpoint it has the room of the reserve, and what it was rolled forward by can go as soon as it is stored.
    await inUpkeep(state, () => rollCheckpoint(state));
    return await open();
  }
}
