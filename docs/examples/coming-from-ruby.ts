/**
 * What the documentation of Kosmonaut for Ruby shows, in Effect.
 */
import { Cause, Console, Effect, Fiber } from "effect"
import { Client, Kosmonaut, Worker } from "kosmonaut"

declare const saveMessage: (message: unknown) => Effect.Effect<void, Error>

const url = "wr://0123456789abcdef0123456789abcdef01234567@127.0.0.1:8081/vhost"

const KosmonautLive = Kosmonaut.layer({ url })

export const managing = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel("room")
  yield* client.openChannel("presence-room")
  yield* client.openChannel("private-room")
  yield* client.closeChannel("room")
})

export const broadcasting = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.broadcast("room", "hello", { what: "world" })
  return yield* client.requestSingleAccessToken("joe", ".*")
}).pipe(
  Effect.catchTag("ChannelNotFoundError", (error) => Console.error(error.message))
)

export const listening = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  return yield* worker.listen({
    onMessage: ({ data, event }) => event === "append_chat_history" ? saveMessage(data.message) : Effect.void,
    onError: (error) => Console.error(`WEBROCKET ERROR: ${error.message}`),
    onException: (cause) => Console.error(`INTERNAL ERROR: ${Cause.pretty(cause)}`)
  })
})

export const stopping = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  const listening = yield* Effect.forkScoped(worker.listen({ onMessage: ({ event }) => Console.log(event) }))
  yield* Effect.sleep("1 minute")
  yield* Fiber.interrupt(listening)
})

export const program = Effect.provide(Effect.andThen(managing, listening), KosmonautLive)
