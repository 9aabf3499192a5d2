/**
 * What stays in memory of a message is its own text: the messages of a Client or a worker are cut out of one text for many of
 * them, which must not stay with the smallest part of it.
 */
import { expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { decodeFromClient } from "../../../src/protocol/CommandCodec.ts"
import * as ClientCommands from "../../../src/server/endpoint/internal/clientCommands.ts"
import * as ClientEvents from "../../../src/server/endpoint/internal/clientEvents.ts"
import * as ResponseCache from "../../../src/server/engine/ResponseCache.ts"
import { enter, makeVhost, type World } from "../../harness/browserSession.ts"
import { worker } from "../../harness/lobby.ts"

setFlagsFromString("--expose-gc")
const collectGarbage = runInNewContext("gc") as () => void

const size = 200_000
const count = 50

/** These texts, as they are cut out of a large one. */
const cut = (...texts: ReadonlyArray<string>): ReadonlyArray<string> => {
  // A text of bytes that were read.
  const all = Buffer.from(texts.join("") + " ".repeat(size)).toString()
  let at = 0
  return texts.map((text) => all.substring(at, at += text.length))
}

const execute = ({ vhost }: World, ...texts: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const command = yield* Effect.fromResult(decodeFromClient(cut(...texts)))
    return yield* command._tag === "Trigger"
      ? ClientEvents.trigger(vhost, command, undefined)
      : ClientCommands.execute(vhost, command as Parameters<typeof ClientCommands.execute>[1], 1_048_576)
  })

/** A worker that has been sent so many events as requests of a browser, or else as events. */
const attend = ({ vhost: { lobby } }: World) => {
  const own = { ...worker("worker", { isSent: true, prefetch: 10_000 }), responses: true }
  return Effect.as(lobby.register(own), own)
}

const long = (n: number) => `the-one-with-the-number-${n}`
const channelRules = [":user", "room.*"].map((pattern) => ({
  pattern,
  openOnDemand: pattern !== ":user",
  history: true
}))

interface Case {
  readonly name: string
  readonly run: (world: World) => Effect.Effect<(n: number) => Effect.Effect<unknown, unknown>, unknown>
}

const cases: ReadonlyArray<Case> = [
  {
    name: "an access token",
    run: (world) => Effect.succeed((n) => execute(world, "AT", long(n), `channel-of-${long(n)}`))
  },
  {
    name: "an access token with a grant",
    run: (world) =>
      Effect.succeed((n) =>
        execute(
          world,
          "AX",
          JSON.stringify({
            uid: long(n),
            pattern: `channel-of-${long(n)}`,
            channels: [long(n)],
            info: { name: long(n) }
          })
        )
      )
  },
  {
    name: "what is retained for a user",
    run: (world) => Effect.succeed((n) => execute(world, "TU", long(n), "an-event-like-others", "{\"some\":\"data\"}"))
  },
  {
    name: "a broadcast that is retained",
    run: (world) =>
      Effect.succeed((n) =>
        execute(world, "BX", `room-${long(n)}`, "an-event-like-others", "{\"some\":\"data\"}", `sid-${long(n)}`)
      )
  },
  {
    name: "an open channel",
    run: (world) => Effect.succeed((n) => execute(world, "OC", `channel-${long(n)}`))
  },
  {
    name: "an event that waits",
    run: (world) =>
      Effect.succeed((n) =>
        execute(
          world,
          "TG",
          "an-event-like-others",
          "{\"some\":\"data that is rather long\"}",
          `{"dedupeKey":"${long(n)}"}`
        )
      )
  },
  {
    name: "a dead letter",
    run: (world) =>
      Effect.map(attend(world), (own) => (n) =>
        Effect.gen(function*() {
          yield* world.vhost.lobby.enqueue("{\"said\":{}}", undefined)
          const [reason] = cut(`it has failed because of ${long(n)}`)
          world.vhost.lobby.nackUnsafe(own.id, own.connection, own.deliveries.at(-1)!.id, reason!)
        }))
  },
  {
    name: "a response to a browser that has left",
    run: (world) =>
      Effect.map(attend(world), (own) => (n) =>
        Effect.gen(function*() {
          const { send, session } = enter(world, long(n), 1)
          const token = yield* world.grant(long(n))
          yield* send("auth", { token, client: long(n) })
          yield* send("request", { event: "ask", data: {}, id: 1 })
          yield* session.end(false)
          const [json] = cut(`{"some":"data of ${long(n)}"}`)
          world.vhost.lobby.respondUnsafe(own.id, own.connection, own.deliveries.at(-1)!.id, "ok", json!)
        }))
  },
  {
    name: "a response to a Client",
    run: (world) =>
      Effect.map(attend(world), (own) => {
        const cache = world.vhost.responseCache.connection("a")
        return (n) =>
          Effect.gen(function*() {
            const command = yield* Effect.fromResult(decodeFromClient(cut("RQ", "ask", "{}", "{}")))
            if (command._tag !== "Request") return expect.fail(command._tag)
            const message = (n + 1).toString(36)
            expect(ResponseCache.isMessageId(message)).toBe(true)
            cache.beginUnsafe(message, 0)
            const running = ClientEvents.makeRunning()
            const fiber = yield* Effect.forkChild(
              ClientEvents.request(world.vhost, running, command, undefined, 1_048_576),
              { startImmediately: true }
            )
            const [json] = cut(`{"some":"data of ${long(n)}"}`)
            world.vhost.lobby.respondUnsafe(own.id, own.connection, own.deliveries.at(-1)!.id, "ok", json!)
            cache.endUnsafe(message, yield* Fiber.await(fiber))
            // What could cancel it is not held for as long as the connection.
            expect(running.cancels.size).toBe(0)
          })
      })
  }
]

/** How many bytes stay of each text after all of these cases. */
const keptBy = Effect.fnUntraced(function*(some: ReadonlyArray<Case>) {
  const all = yield* Effect.forEach(some, ({ run }) => Effect.flatMap(makeVhost({ channelRules }), run))
  for (const once of all) yield* once(0)
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  for (const once of all) {
    for (let n = 1; n <= count; n++) yield* once(n)
  }
  // What the last one leaves on the stack.
  yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
  collectGarbage()
  return (process.memoryUsage().heapUsed - before) / count
})

const limit = size / 4

it.effect("What stays in memory of a batch is its own text", () =>
  Effect.gen(function*() {
    // Collecting garbage takes long, so that each is looked at only if all together have left too much.
    const suspects = (yield* keptBy(cases)) < limit ? [] : cases
    const wrong = yield* Effect.filter(suspects, (one) => Effect.map(keptBy([one]), (kept) => kept >= limit))
    expect(wrong.map(({ name }) => name)).toEqual([])
  }), 120_000)
