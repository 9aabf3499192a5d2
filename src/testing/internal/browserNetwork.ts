/**
 * The network between browsers and a broker under test, in memory: a WebSocket at one end, the broker's session of a browser
 * at the other. It can be cut and can fall silent.
 *
 * No party runs inside of another: each message is handled in a turn of its own, so that `TestClock.adjust` moves time only
 * when all that was sent has been received.
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as BrowserSession from "../../server/endpoint/BrowserSession.ts"
import type { Vhost } from "../../server/engine/Vhosts.ts"
import * as MemoryWebSocket from "./memoryWebSocket.ts"

/** A network in memory, of browsers. */
export interface BrowserNetwork {
  /** Opens a WebSocket. The version is the URL's `v`. */
  readonly open: (url: string) => MemoryWebSocket.MemoryWebSocket
  readonly cut: Effect.Effect<void>
  readonly silence: Effect.Effect<void>
  readonly restore: Effect.Effect<void>
  readonly disconnect: (code: number) => Effect.Effect<void>
}

/** One direction of a connection: messages in order, and how it ended. */
interface Direction {
  readonly sendUnsafe: (text: string) => void
  /** No more messages. What was sent before still arrives. */
  readonly endUnsafe: (end: MemoryWebSocket.End) => void
  /** No more messages; what was sent and not received is lost. */
  readonly breakUnsafe: () => void
  readonly networkChangedUnsafe: () => void
  /** Waits for the next message. Fails at the end, with how it ended. */
  readonly next: Effect.Effect<string, MemoryWebSocket.End>
}

interface Connection {
  readonly toBroker: Direction
  readonly toBrowser: Direction
}

/** Makes a connected network to a vhost. */
export const make = Effect.fnUntraced(function*(
  vhost: Vhost
): Effect.fn.Return<BrowserNetwork, never, Scope.Scope> {
  const run = yield* FiberSet.makeRuntime<never>()
  const connections = new Set<Connection>()
  let state: "connected" | "cut" | "silent" = "connected"
  const audible = Latch.makeUnsafe(true)
  const isSilent = () => state === "silent"
  const become = (next: typeof state) =>
    Effect.sync(() => {
      state = next
      if (isSilent()) audible.closeUnsafe()
      else audible.openUnsafe()
      for (const { toBroker, toBrowser } of connections) {
        for (const direction of [toBroker, toBrowser]) {
          if (next === "cut") direction.breakUnsafe()
          else direction.networkChangedUnsafe()
        }
      }
    })

  return {
    open: (url) => {
      const connection: Connection = { toBroker: makeDirection(isSilent), toBrowser: makeDirection(isSilent) }
      const { toBroker, toBrowser } = connection
      const socket = MemoryWebSocket.make({
        sendUnsafe: toBroker.sendUnsafe,
        closeUnsafe: (code) => toBroker.endUnsafe({ code, reason: "" })
      })
      connections.add(connection)
      if (state === "cut") {
        toBroker.breakUnsafe()
        toBrowser.breakUnsafe()
      }
      const version = new URL(url).searchParams.get("v") === "1" ? 1 : 0
      const serve = state === "cut" ? Effect.void : serveBrowser(vhost, connection, version, audible.await)
      run(Effect.ensuring(
        Effect.all([serve, deliver(socket, toBrowser)], { concurrency: 2 }),
        Effect.sync(() => {
          connections.delete(connection)
        })
      ))
      return socket.like
    },
    cut: become("cut"),
    silence: become("silent"),
    restore: become("connected"),
    disconnect: (code) =>
      Effect.sync(() => {
        for (const { toBroker, toBrowser } of connections) {
          toBrowser.endUnsafe({ code, reason: "" })
          toBroker.endUnsafe({ code, reason: "" })
        }
      })
  }
})

const deliver = (socket: MemoryWebSocket.Owned, { next }: Direction): Effect.Effect<void> =>
  Effect.flatMap(next, (text) => Effect.sync(() => socket.receiveUnsafe(text))).pipe(
    Effect.forever,
    Effect.catch((end) => Effect.sync(() => socket.endUnsafe(end)))
  )

// The broker's side. As its endpoint, it closes a browser with 1011 after a defect.
const serveBrowser = Effect.fnUntraced(function*(
  vhost: Vhost,
  { toBroker, toBrowser }: Connection,
  version: 0 | 1,
  audible: Effect.Effect<unknown>
) {
  yield* audible
  // If it is interrupted, the broker ends.
  let endedBy = 1000
  const close = (code: number, reason = "") => {
    endedBy = code
    toBrowser.endUnsafe({ code, reason })
    toBroker.endUnsafe({ code, reason })
  }
  const session = BrowserSession.make(vhost, {
    sid: SecureRandom.uuidV4Unsafe(),
    version,
    sendUnsafe: toBrowser.sendUnsafe,
    closeUnsafe: close
  })
  const handle = Effect.flatMap(toBroker.next, (text) => {
    if (encoder.encode(text).length > vhost.config.maxMessageSize) return Effect.sync(() => close(1009))
    return Effect.map(session.handle(text), (goesOn) => goesOn ? undefined : close(1000))
  })
  const handleAll = Effect.forever(handle).pipe(
    Effect.catch(({ code, reason }) => Effect.sync(() => close(code, reason))),
    Effect.catchDefect(() => Effect.sync(() => close(1011)))
  )
  yield* Effect.forkChild(Effect.andThen(vhost.removed, Effect.sync(() => close(1001))))
  yield* Effect.ensuring(handleAll, Effect.suspend(() => session.end(BrowserSession.mayReturn(endedBy))))
})

const makeDirection = (isSilent: () => boolean): Direction => {
  let messages: Array<string> = []
  let end: MemoryWebSocket.End | undefined
  const readable = Latch.makeUnsafe()
  const update = () => {
    if (!isSilent() && (messages.length > 0 || end !== undefined)) readable.openUnsafe()
    else readable.closeUnsafe()
  }
  return {
    sendUnsafe: (text) => {
      if (end !== undefined) return
      messages.push(text)
      // As a browser or a broker that does not read.
      if (messages.length > limit) end = { code: 1013, reason: "too much is unread" }
      update()
    },
    endUnsafe: (given) => {
      end ??= given
      update()
    },
    breakUnsafe: () => {
      messages = []
      end ??= { code: 1006, reason: "the network is cut" }
      update()
    },
    networkChangedUnsafe: update,
    next: Effect.andThen(
      Effect.andThen(readable.await, Effect.yieldNow),
      Effect.suspend(function next(): Effect.Effect<string, MemoryWebSocket.End> {
        // The network may have fallen silent in between.
        if (!readable.isOpen()) return Effect.andThen(readable.await, Effect.suspend(next))
        const message = messages.shift()
        update()
        return message === undefined ? Effect.fail(end!) : Effect.succeed(message)
      })
    )
  }
}

/** How many messages may be on their way in one direction. */
const limit = 10_000

const encoder = new TextEncoder()
