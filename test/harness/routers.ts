/**
 * A group of events, and routers for it at a broker in memory.
 */
import { Cause, Effect, Layer, Logger, Queue, Schema } from "effect"
import { Client, Event, EventGroup, EventRouter, Worker } from "../../src/index.ts"
import { testBroker } from "./engine.ts"
import { eventually } from "./eventually.ts"
import { memoryBackend } from "./memoryBroker.ts"

/** The events that routers of tests handle. */
export class Game extends EventGroup.make("game", Event.make("move", { payload: { x: Schema.Number } })) {}

/** Puts an event into the vhost, as an authenticated browser would. */
export const trigger = (event: string, data: object = {}) =>
  Effect.flatMap(testBroker, ({ vhost }) => vhost.lobby.enqueue(JSON.stringify({ [event]: data })))

/** Waits until there are so many workers. */
export const workers = (count: number) =>
  eventually(Effect.flatMap(testBroker, ({ vhost }) => vhost.lobby.info), (info) => info.workers.length === count)

/** What is logged from warnings on: the level, the text and the causes. */
export const logged = (into: Queue.Queue<string>) =>
  Logger.layer([Logger.make(({ cause, logLevel, message }) => {
    if (logLevel !== "Warn" && logLevel !== "Error") return
    Queue.offerUnsafe(into, `${logLevel}: ${[message].flat().join(" ")} ${Cause.pretty(cause)}`)
  })])

/** A router for the game, with this handler. */
export const routing = <RX, R1 = never, R2 = never, R3 = never>(
  move: (x: number) => Effect.Effect<void, unknown, RX>,
  options?: EventRouter.Options<R1, R2, R3>
) => Layer.provide(EventRouter.layer(Game, options), Game.toLayer({ move: ({ x }) => move(x) }))

/** Builds a router at the test's broker; its scope is the test's. */
export const run = <E>(
  router: Layer.Layer<never, E, Worker.Worker | Client.Client>,
  options?: Omit<Worker.Options, "url">
) => Layer.build(Layer.provideMerge(router, memoryBackend(options)))

/** A queue, and handlers that record in it what they received. */
export const recorder = Effect.gen(function*() {
  const got = yield* Queue.unbounded<unknown>()
  const record = (...what: ReadonlyArray<unknown>) =>
    Effect.asVoid(Queue.offer(got, what.length === 1 ? what[0] : what))
  const take = (count: number) => Effect.replicateEffect(Queue.take(got), count)
  return { got, record, take, next: Queue.take(got) }
})
