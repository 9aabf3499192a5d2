/**
 * A broker and workers in processes of their own, browsers that trigger numbered events, Clients that broadcast numbered
 * messages and browsers that receive them; and bad things, which happen to all of them and to the network between. At the end
 * everything that was confirmed is to have been handled, and everything that was broadcast to have been received.
 *
 * The broker may be several nodes with a Redis, to which bad things happen, too. Then users come and go as well, and at the end all
 * nodes are to know who is there, and to have said once of each that it came or went.
 */
import { Clock, Duration, Effect, Fiber, Logger, Random } from "effect"
import { beginReceiving, beginTriggering } from "./browsers.ts"
import {
  check,
  checkBroadcasts,
  checkListeners,
  checkTransitions,
  type Transition,
  type Verdict,
  waits
} from "./checker.ts"
import { beginListening, Kept } from "./listeners.ts"
import * as Nodes from "./nodes.ts"
import { beginBroadcasting, clientOf } from "./senders.ts"
import * as Visitors from "./visitors.ts"
import * as World from "./world.ts"

/** How bad it is to be. */
export interface Options extends World.Options {
  /** How long bad things happen, at the least; each kind happens at least once. */
  readonly duration: Duration.Input
  /** What the choice of them depends on, but not their timing. */
  readonly seed: number
  /** How many nodes the broker is, default one broker without Redis. */
  readonly nodes?: number | undefined
  /** What happens, default everything. */
  readonly deeds?: ReadonlyArray<string> | undefined
  /** How long those who broadcast wait after each broadcast, default 10 milliseconds; who triggers waits three times as long. */
  readonly pause?: number | undefined
  /** Hears from time to time how it goes. */
  readonly onProgress?: ((figures: Figures) => Effect.Effect<void>) | undefined
}

/** What has happened so far. */
interface Figures {
  readonly confirmed: number
  readonly refused: number
  readonly unknown: number
  readonly broadcasts: {
    readonly answered: number
    readonly failed: number
    readonly received: number
    readonly heard: number
    readonly gaps: number
  }
  readonly deeds: Readonly<Record<string, number>>
  readonly redelivered: number
  readonly waiting: number
}

/** What has happened, and what is to be said of it. */
interface Report extends Figures, Verdict {
  readonly handled: number
  readonly deadLetters: number
  readonly transitions: number
  /** In milliseconds, see `waits`. */
  readonly longest: ReturnType<typeof waits>
}

/** Lets bad things happen for a while, waits until the broker has nothing left, and judges. */
export const run = (options: Options): Effect.Effect<Report> =>
  live(options).pipe(
    Effect.scoped,
    Effect.provide(Logger.layer([])),
    Random.withSeed(options.seed),
    Effect.orDie
  )

const live = Effect.fnUntraced(function*(options: Options) {
  const { pause = 10 } = options
  const folder = yield* World.temporaryFolder
  const nodes = options.nodes === undefined ? undefined : yield* Nodes.make(folder, options, options.nodes)
  const world = nodes ?? (yield* World.make(folder, options))
  const { urls } = world
  const control = yield* clientOf(urls.control)
  const visiting = nodes === undefined ? undefined : yield* Visitors.beginVisiting(urls.browsers, control)
  const people = {
    receiving: yield* beginReceiving(urls.browsers, 4),
    listening: yield* beginListening(urls.browsers),
    triggering: yield* beginTriggering(urls.browsers, control, 3 * pause),
    broadcasting: yield* beginBroadcasting(urls.backends, pause)
  }
  const { broadcasting, listening, receiving, triggering } = people
  const counts = new Map<string, number>()
  const figures = () => figuresOf(world, people, counts)
  const { onProgress } = options
  if (onProgress !== undefined) {
    yield* Effect.forkScoped(Effect.forever(Effect.delay(Effect.suspend(() => onProgress(figures())), "5 seconds")))
  }

  yield* doBadThings(world, counts, options)
  yield* triggering.end
  yield* broadcasting.end
  yield* receiving.end
  const deaf = yield* listening.end(control, options.patience)
  const unrest = nodes === undefined || visiting === undefined
    ? []
    : yield* rested(folder, nodes, visiting, options.patience)
  const left = yield* world.drained(new Set(triggering.confirmed.keys()))
  yield* world.team.end
  const { handlings, transitions } = yield* World.readAll(folder)
  const letters = numbersOf(yield* world.letters)
  const history = { ...triggering, handlings, letters: new Set(letters), restarts: world.restarts }
  const verdict = check(history)
  const report: Report = {
    ...figures(),
    ...verdict,
    wrongs: [
      ...verdict.wrongs,
      ...checkBroadcasts(broadcasting.broadcasts, receiving.subscriptions),
      ...checkListeners(broadcasting.broadcasts.filter(({ channel }) => channel === Kept.name), listening.listeners()),
      ...deaf,
      ...unrest,
      ...world.faults(),
      ...left,
      ...droppedOf(world.latest().deadLettersDropped)
    ],
    handled: handlings.length,
    deadLetters: letters.length,
    transitions: transitions.length,
    longest: waits(history)
  }
  return report
})

interface People {
  readonly receiving: Effect.Success<ReturnType<typeof beginReceiving>>
  readonly listening: Effect.Success<ReturnType<typeof beginListening>>
  readonly triggering: Effect.Success<ReturnType<typeof beginTriggering>>
  readonly broadcasting: Effect.Success<ReturnType<typeof beginBroadcasting>>
}

const figuresOf = (
  { latest, redelivered }: World.World,
  { broadcasting: { broadcasts }, listening, receiving, triggering }: People,
  counts: ReadonlyMap<string, number>
): Figures => {
  const answered = broadcasts.filter(({ answered }) => answered !== undefined).length
  const heard = listening.listeners().flatMap(({ heard }) => heard)
  return {
    confirmed: triggering.confirmed.size,
    refused: triggering.refused.size,
    unknown: triggering.unknown.size,
    broadcasts: {
      answered,
      failed: broadcasts.length - answered,
      received: receiving.subscriptions.reduce((sum, { received }) => sum + received.length, 0),
      heard: heard.length,
      gaps: heard.filter((one) => "gap" in one).length
    },
    deeds: Object.fromEntries(counts),
    redelivered: redelivered(),
    waiting: latest().waiting
  }
}

const numbersOf = (letters: Effect.Success<World.World["letters"]>): ReadonlyArray<number> =>
  letters.flatMap(({ json }) => JSON.parse(json).count?.n ?? [])

const droppedOf = (count: number): ReadonlyArray<string> =>
  count === 0 ? [] : [`${count} dead letters were dropped, and nobody can tell which`]

/** One thing after the other; some go on while the next happen. It ends when all have. */
const doBadThings = Effect.fnUntraced(function*(
  { deeds, pace, team }: World.World,
  counts: Map<string, number>,
  { deeds: names = Object.keys(deeds), duration }: Options
) {
  const goingOn: Array<Fiber.Fiber<void>> = []
  const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(duration)
  for (let n = 0; n < names.length || (yield* Clock.currentTimeMillis) < until; n++) {
    const name = names[n] ?? (yield* Random.choice(names))
    const place = yield* Random.nextIntBetween(0, World.places - 1)
    yield* team.workers[place]!.isAtWork
    yield* Effect.sleep(yield* Random.nextBetween(0, pace))
    counts.set(name, (counts.get(name) ?? 0) + 1)
    goingOn.push(yield* Effect.forkScoped(yield* deeds[name]!(place)))
  }
  yield* Fiber.joinAll(goingOn)
})

/** Nobody comes or goes any more. What is wrong then in the end. */
const rested = Effect.fnUntraced(function*(
  folder: string,
  { clients, letters, sids }: Nodes.Nodes,
  visiting: Effect.Success<ReturnType<typeof Visitors.beginVisiting>>,
  patience: Duration.Input | undefined
) {
  yield* visiting.rest
  const unseen = yield* visiting.seen(clients, patience)
  const wrongs = Effect.gen(function*() {
    const [first = [], ...others] = (yield* sids).map((all) => all.toSorted())
    const rest = { sids: first, channel: Visitors.channel, members: visiting.there() }
    return [
      ...others.flatMap((other, index) =>
        other.join() === first.join()
          ? []
          : [`node ${index + 1} has ${other.length} browsers, and node 0 ${first.length}`]
      ),
      ...checkTransitions([...(yield* World.readAll(folder)).transitions, ...transitionsOf(yield* letters)], rest)
    ]
  })
  return [...unseen, ...yield* Visitors.patiently(wrongs, patience)]
})

// Those that no worker has handled.
const transitionsOf = (letters: Effect.Success<World.World["letters"]>): ReadonlyArray<Transition> =>
  letters.flatMap(({ id, json }) => {
    const [lifecycle, data] = Object.entries(JSON.parse(json))[0] as [string, Transition["data"]]
    return lifecycle.startsWith(":") ? [{ lifecycle, id, data }] : []
  })
