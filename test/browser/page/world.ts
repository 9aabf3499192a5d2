/**
 * What the tests of pages have in common: a worker, and what a page's code says of itself.
 */
import { DateTime, Effect, Layer } from "effect"
import { EventRouter } from "../../../src/index.ts"
import type { State } from "../../chaos/broker.ts"
import { eventually } from "../../harness/eventually.ts"
import type * as Site from "../../harness/site.ts"
import { Chat, Taken } from "./events.ts"

export type World = Effect.Success<ReturnType<typeof Site.make>>

/** A worker that has handled what `handled` says. Runs until the scope ends. */
export const work = Effect.fnUntraced(function*({ backend }: World) {
  const handled: Array<number> = []
  const handlers = Chat.toLayer({
    say: ({ n }) => Effect.sync(() => void handled.push(n)),
    when: ({ at }) => Effect.succeed(DateTime.add(at, { days: 1 })),
    rename: () => Effect.fail(new Taken({ by: "ann" })),
    crash: () => Effect.die(new Error("a secret"))
  })
  const router = EventRouter.layer(Chat, { onException: () => Effect.void })
  yield* Layer.build(Layer.provide(router, Layer.merge(handlers, Layer.succeedContext(backend))))
  return handled
})

/** Waits until the broker has no event left. */
export const idle = ({ broker }: World) =>
  eventually(
    broker.ask("state") as Effect.Effect<State>,
    ({ unacknowledged, waiting }) => unacknowledged + waiting === 0
  )

/** In a page's code: the room is subscribed to. */
export const subscribed = `room.state._tag === "Subscribed"`

/** In a page's code: it waits before it reconnects. */
export const waiting = `connection.state._tag === "Waiting"`
