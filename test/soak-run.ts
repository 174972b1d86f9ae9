// Three live databases at once, whose applications, agent, host, line and clocks have one trouble after the other, while points are restored. The
// short form is soak.test.ts, the hour slow/soak.slow.ts.
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored, readGenerations } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { type Checker, openChecker } from "./go-apps.ts";
import { restore } from "./pageferry.ts";
import { openReplica } from "./restores.ts";
import { watchLag } from "./soak/lag.ts";
import { createRestorer, type Restorer } from "./soak/restorer.ts";
import { openStage, type SoakDatabase, type Stage, soakToken } from "./soak/stage.ts";
import { shuffledDeck, type Trouble } from "./soak/troubles.ts";
import { createTruth, type Truth } from "./soak/truth.ts";
import { type Chance, chance, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

export interface SoakScenario {
  /** Troubles go on at least so long, and until all kinds have happened to all. */
  readonly seconds: number;
  /** How long one trouble lasts at most, about. */
  readonly troubleMsMax: number;
  readonly restoreEveryMs: number;
  /** When all troubles are over, what was committed is in the replica after at most this. */
  readonly recoverMsMax: number;
  readonly seed?: number;
  readonly onTrouble?: (trouble: Trouble) => void;
  /** To spoil a restored file, or the replica when the troubles are over: the proof must be able to fail. */
  readonly onRestored?: (path: string) => Promise<void>;
  readonly onCalm?: (databases: readonly SoakDatabase[]) => Promise<void>;
}

export interface SoakReport {
  readonly seed: number;
  readonly seconds: number;
  readonly commits: Readonly<Record<string, number>>;
  readonly troubles: Readonly<Record<string, number>>;
  /** By whom they befell. */
  readonly befell: Readonly<Record<string, number>>;
  readonly restores: number;
  readonly compared: number;
  readonly bad: readonly string[];
  readonly acknowledged: number;
  /** Acknowledged segments whose last transaction is no point at the end. */
  readonly lost: readonly string[];
  readonly generations: Readonly<Record<string, readonly string[]>>;
  readonly lagMsMax: number;
  /** From the end of the last trouble until what was committed by then is stored. */
  readonly recoveredMs: number;
  readonly exitCodes: readonly (number | null)[];
}

/** Runs the scenario. */
export async function runSoak(scenario: SoakScenario): Promise<SoakReport> {
  const random = chance(scenario.seed);
  await using directory = await temporaryDirectory();
  await using checker = openChecker({ logical: false });
  await using stage = await openStage(directory);
  try {
    return await play(scenario, { directory, checker, stage, random });
  } catch (error) {
    const said = [stage.agent, stage.host].map(({ name, output }) => `the ${name} said:\n${output()}`);
    throw new Error(`seed ${random.seed}: ${error}\n${said.join("\n")}`, { cause: error });
  }
}

interface Opened {
  readonly directory: TemporaryDirectory;
  readonly checker: Checker;
  readonly stage: Stage;
  readonly random: Chance;
}

async function play(
  scenario: SoakScenario,
  { directory, checker, stage, random }: Opened,
): Promise<SoakReport> {
  const truth = createTruth(checker, directory);
  const restorer = createRestorer({
    ...{ checker, directory, truth, random: chance(random.seed + 1), onRestored: scenario.onRestored },
  });
  await Promise.all(stage.actors().map((actor) => actor.start()));
  await untilStored(stage.databases, async () => 1, 60_000);
  const first = await newestOf(stage.databases);
  const begunMs = performance.now();

  const played = await playTroubles(stage, { scenario, truth, random, restorer });
  const calmMs = performance.now();
  const troubled = await newestOf(stage.databases);
  await untilStored(stage.databases, ({ name }) => troubled[name] ?? 0, scenario.recoverMsMax);
  const recoveredMs = Math.round(performance.now() - calmMs);

  await Promise.all(stage.databases.map(({ application }) => application.stop()));
  await untilStored(stage.databases, ({ path }) => newestTxId(path), scenario.recoverMsMax);
  await scenario.onCalm?.(stage.databases);
  const bad = [...restorer.report.bad, ...truth.problems, ...(await newestIsLive(stage, truth, directory))];
  const exitCodes = [await stage.agent.stop(), await stage.host.stop()];
  const last = await newestOf(stage.databases);
  const { restores, compared } = restorer.report;
  const generations = stage.databases.map(async ({ name, root }) => {
    const begun = await readGenerations(root);
    return [name, begun.map(({ generation, reason }) => `${generation} ${reason}`)] as const;
  });
  return {
    ...{ seed: random.seed, seconds: Math.round((calmMs - begunMs) / 1000) },
    commits: Object.fromEntries(
      Object.entries(last).map(([name, txId]) => [name, txId - (first[name] ?? 0)]),
    ),
    ...{ ...played, restores: restores + stage.databases.length, compared, bad },
    ...(await acknowledgedAndLost(stage)),
    generations: Object.fromEntries(await Promise.all(generations)),
    ...{ recoveredMs, exitCodes },
  };
}

interface Troubled {
  readonly scenario: SoakScenario;
  readonly truth: Truth;
  readonly random: Chance;
  readonly restorer: Restorer;
}

/** How many troubles there are at once. */
const hands = 2;

/** How long a hand rests between two troubles, at most, ms. */
const restMsMax = 1500;

async function playTroubles(stage: Stage, { scenario, truth, random, restorer }: Troubled) {
  const deal = () => shuffledDeck(stage, truth, random, scenario.troubleMsMax);
  const endMs = performance.now() + scenario.seconds * 1000;
  const [troubles, befell]: [Record<string, number>, Record<string, number>] = [{}, {}];
  const busy = new Set<string>();
  let deck = deal();
  let playing = hands;
  let isDealt = false;
  const hand = async () => {
    while (!isDealt || performance.now() < endMs) {
      const trouble = deck.find(({ who }) => !busy.has(who));
      if (trouble === undefined) {
        await sleep(20);
        continue;
      }
      deck.splice(deck.indexOf(trouble), 1);
      scenario.onTrouble?.(trouble);
      troubles[trouble.kind] = (troubles[trouble.kind] ?? 0) + 1;
      befell[trouble.who] = (befell[trouble.who] ?? 0) + 1;
      busy.add(trouble.who);
      await trouble.happen();
      busy.delete(trouble.who);
      if (deck.length === 0) {
        isDealt = true;
        deck = deal();
      }
      await sleep(random.below(restMsMax));
    }
  };
  const isOver = () => playing === 0;
  const restoring = async () => {
    for (let turn = 0; !isOver(); turn += 1) {
      const database = stage.databases[turn % stage.databases.length];
      const nextMs = performance.now() + scenario.restoreEveryMs;
      if (database !== undefined) await restorer.once(database);
      while (!isOver() && performance.now() < nextMs) await sleep(50);
    }
  };
  const playAll = Array.from({ length: hands }, () =>
    hand().finally(() => {
      playing -= 1;
    }),
  );
  const [lagMsMax] = await Promise.all([watchLag(stage.databases, isOver), restoring(), ...playAll]);
  return { troubles, befell, lagMsMax };
}

/** The newest transaction in each file. */
async function newestOf(databases: readonly SoakDatabase[]): Promise<Record<string, number>> {
  const newest = databases.map(async ({ name, path }) => [name, await newestTxId(path)] as const);
  return Object.fromEntries(await Promise.all(newest));
}

/** Waits until the replica has a transaction of each. */
async function untilStored(
  databases: readonly SoakDatabase[],
  wanted: (database: SoakDatabase) => number | Promise<number>,
  timeoutMs: number,
): Promise<void> {
  const one = async (database: SoakDatabase) => {
    const txId = await wanted(database);
    await until(
      `the replica has ${txId} of ${database.name}`,
      async () => (await newestStored(database.root)) >= txId,
      { timeoutMs },
    );
  };
  await Promise.all(databases.map(one));
}

/** The newest point of each, as the command restores it from the host, beside the file, which nobody writes any more. */
async function newestIsLive(stage: Stage, truth: Truth, directory: TemporaryDirectory): Promise<string[]> {
  await using checker = openChecker({ logical: false });
  const bad: string[] = [];
  for (const database of stage.databases) {
    const { name, path } = database;
    await truth.take(database);
    const out = directory.file(`${name}-newest.db`);
    const from = `${stage.hostUrl}/v1/databases/${name}`;
    const { code, stderr } = await restore(from, out, {}, { env: { PAGEFERRY_TOKEN: soakToken } });
    if (code !== 0) {
      bad.push(`${name}: restore ended with ${code}: ${stderr.slice(-1000)}`);
      continue;
    }
    const { ok, errors, txid, liveSha256 } = await checker.check(out);
    if (!ok) bad.push(`${name}: ${errors.join("; ")}`);
    if (txid !== (await newestTxId(path))) bad.push(`${name}: the newest point is ${txid}`);
    if (liveSha256 !== truth.of(database, txid)) bad.push(`${name}: the newest point is not the live file`);
  }
  return bad;
}

/** The segments that the host acknowledged, and those of them that are no point. */
async function acknowledgedAndLost({ proxy, databases }: Stage) {
  const points = databases.map(async ({ root }) => (await openReplica(root)).points());
  const known = new Set(
    (await Promise.all(points)).flat().map(({ generation, txid }) => `${generation}/${txid}`),
  );
  const acknowledged = [...proxy.acknowledged].flatMap((name) => {
    const match = /([0-9a-f]{16})\/segments\/[0-9a-f]{16}-([0-9a-f]{16})-/.exec(name);
    return match === null ? [] : [{ name, point: `${match[1]}/${match[2]}` }];
  });
  const lost = acknowledged.filter(({ point }) => !known.has(point)).map(({ name }) => name);
  return { acknowledged: acknowledged.length, lost };
}
