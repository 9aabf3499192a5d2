/**
 * What to do when a request fails: which ones may be repeated, and how.
 */
import { Effect, Schedule } from "effect"
import { Client, KosmonautError, Worker } from "kosmonaut"

/** From 100 milliseconds, doubling to 5 seconds, with jitter, ten times. */
const patiently = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 10 })
)

/** Opening what is open does nothing, so it may be repeated whatever has happened. */
export const openRoom = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel("room")
}).pipe(Effect.retry({ while: KosmonautError.isRetryable, schedule: patiently }))

/** If twice is worse than never. */
export const atMostOnce = Effect.fnUntraced(function*(text: string) {
  const client = yield* Client.Client
  yield* client.broadcast("room", "said", { text }).pipe(
    Effect.retry({ while: KosmonautError.wasNotSent, schedule: patiently })
  )
})

/** If never is worse than twice. Browsers ignore an `id` that they have received already. */
export const atLeastOnce = Effect.fnUntraced(function*(id: string, text: string) {
  const client = yield* Client.Client
  yield* client.broadcast("room", "said", { id, text }).pipe(
    Effect.retry({ while: KosmonautError.isRetryable, schedule: patiently })
  )
})

/** A broker that has begun anew has no channels but those it was started with. */
export const reopening = Effect.fnUntraced(function*(text: string) {
  const client = yield* Client.Client
  const say = client.broadcast("room", "said", { text })
  yield* say.pipe(
    Effect.catchTag("ChannelNotFoundError", () => Effect.andThen(client.openChannel("room"), say))
  )
})

/** Closing what is closed is as good. */
export const closeRoom = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.closeChannel("room")
}).pipe(
  Effect.retry({ while: KosmonautError.isRetryable, schedule: patiently }),
  Effect.catchTag("ChannelNotFoundError", () => Effect.void)
)

/** What may fail and may be repeated is repeated here first. When that is over the event is a dead letter. */
export const listening = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  return yield* worker.listen({
    onMessage: ({ data, event }) => Effect.timeout(save(event, data), "10 seconds"),
    retry: patiently,
    onException: (cause) => Effect.logError("An event was not handled", cause)
  })
})

declare const save: (event: string, data: object) => Effect.Effect<void, Error>
