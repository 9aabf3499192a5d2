/**
 * Workers that share the events of a vhost, and one that leaves. Each of these could be a process of its own.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Array, Console, Effect, Exit, Layer, Order, Queue, Redacted, Schema, Scope } from "effect"
import { EventRouter, Kosmonaut } from "kosmonaut"
import { Event, EventGroup } from "kosmonaut/events"
import * as Local from "./local.ts"

class Jobs extends EventGroup.make(
  "jobs",
  Event.make("resize", { payload: { picture: Schema.Int } })
) {}

/** A worker with a name, which does one job after the other. */
const worker = (name: string, url: Redacted.Redacted, done: Queue.Enqueue<readonly [string, number]>) =>
  EventRouter.layer(Jobs).pipe(
    Layer.provide(Jobs.toLayer({ resize: ({ picture }) => Effect.asVoid(Queue.offer(done, [name, picture])) })),
    Layer.provide(Kosmonaut.layer({ url, worker: { concurrency: 1, bufferSize: 10, drainTimeout: "10 seconds" } }))
  )

const program = Effect.gen(function*() {
  const { backend } = yield* Local.urls
  const results = yield* Queue.unbounded<readonly [worker: string, picture: number]>()
  const browser = yield* Local.browser(Local.tokenFor("joe"))

  const share = Effect.fnUntraced(function*(pictures: ReadonlyArray<number>) {
    for (const picture of pictures) yield* browser.trigger(Jobs.events.resize, { picture })
    const jobs = yield* Queue.takeN(results, pictures.length)
    const done = Array.sort(jobs.map(([, picture]) => picture), Order.Number)
    const by = Array.sort(new Set(jobs.map(([worker]) => worker)), Order.String)
    yield* Console.log(`Done: ${done.join(" ")}`)
    yield* Console.log(`By: ${by.join(" ")}`)
  })

  // They are connected when their layers are built.
  const scopes = []
  for (const name of ["a", "b", "c"]) {
    const scope = yield* Scope.fork(yield* Effect.scope)
    yield* Layer.buildWithScope(worker(name, backend, results), scope)
    scopes.push(scope)
  }
  yield* share([1, 2, 3, 4, 5, 6])

  // Closing its scope is how a worker is stopped: it finishes what it has, and the others get the rest.
  yield* Scope.close(scopes[0]!, Exit.void)
  yield* share([7, 8, 9])
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
