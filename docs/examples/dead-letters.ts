/**
 * What to do with dead letters, the events whose handlers failed: look at them, and have those handled again whose reason is
 * gone.
 */
import { Console, DateTime, Effect, Stream } from "effect"
import { Client } from "kosmonaut"

/** A line for each. They come as they are read, so that there may be many. */
export const report = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* Stream.runForEach(
    client.deadLetters.list,
    ({ attempts, event, failedAt, id, reason }) =>
      Console.log(`${id} ${event} failed ${attempts} times, at last ${DateTime.formatIso(failedAt)}: ${reason}`)
  )
})

/** Handles again what failed for this reason. One that fails once more is a new dead letter, so the list is read first. */
export const replay = Effect.fnUntraced(function*(reason: string) {
  const client = yield* Client.Client
  const letters = yield* client.deadLetters.list.pipe(
    Stream.filter((letter) => letter.reason.includes(reason)),
    Stream.map(({ id }) => id),
    Stream.runCollect
  )
  // Another may have been faster.
  const once = (id: string) =>
    Effect.catchTag(client.deadLetters.replay(id), "DeadLetterNotFoundError", () => Effect.void)
  yield* Effect.forEach(letters, once, { discard: true })
})
