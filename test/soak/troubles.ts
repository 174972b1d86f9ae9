// What can happen to those on the stage. A deck of all of it is shuffled by chance and dealt out: nothing is left out, and a seed says the order.
import { setTimeout as sleep } from "node:timers/promises";
import type { Chance } from "../temporary.ts";
import type { LineState } from "./line.ts";
import type { Stage } from "./stage.ts";
import type { Truth } from "./truth.ts";

export type TroubleKind = "restart" | "kill" | "freeze" | "cut" | "silence" | "slow" | "shift";

export interface Trouble {
  readonly kind: TroubleKind;
  /** Whom it befalls: nobody has two troubles at once. */
  readonly who: string;
  happen(): Promise<void>;
}

const minuteMs = 60_000;

/** Less than a day: so long the host of a soak keeps every point. */
const offsetsMs = [-60 * minuteMs, -minuteMs, -2000, 2000, minuteMs, 60 * minuteMs] as const;

/** All of it once, in an order of chance; each lasts up to `msMax`. */
export function shuffledDeck(stage: Stage, truth: Truth, random: Chance, msMax: number): Trouble[] {
  const whileMs = () => 100 + random.below(msMax);
  const deck = [
    ...stage.actors().flatMap((actor) => troublesOf(actor.name)),
    ...(["cut", "silence", "slow"] as const).map(lineTrouble),
    ...(["agent", "host"] as const).map(shift),
  ];
  return random.sample(deck, deck.length);

  function troublesOf(who: string): Trouble[] {
    const actor = stage.actors().find(({ name }) => name === who);
    const database = stage.databases.find(({ name }) => name === who);
    if (actor === undefined) throw new Error(`${who} is not on the stage`);
    const look = async () => database && truth.take(database);
    const again = (end: () => Promise<unknown>) => async () => {
      await end();
      await Promise.all([look(), sleep(whileMs() / 2)]);
      await actor.start();
    };
    return [
      { kind: "restart", who, happen: again(actor.stop) },
      { kind: "kill", who, happen: again(actor.kill) },
      { kind: "freeze", who, happen: () => actor.freeze(whileMs(), look) },
    ];
  }

  function lineTrouble(kind: "cut" | "silence" | "slow"): Trouble {
    const states: Record<typeof kind, LineState> = {
      cut: "cut",
      silence: "silent",
      slow: { delayMs: 20 + random.below(200), bytesPerSecond: 2 ** (14 + random.below(5)) },
    };
    const happen = async () => {
      stage.line.become(states[kind]);
      await sleep(whileMs() * 2);
      stage.line.become("open");
    };
    return { kind, who: "line", happen };
  }

  function shift(whose: "agent" | "host"): Trouble {
    return {
      ...{ kind: "shift", who: `${whose}'s clock` },
      happen: () => stage.clocks[whose].step(random.pick(offsetsMs)),
    };
  }
}
