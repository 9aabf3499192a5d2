/** Which messages of browsers are handled in a turn that is over, and what a connection sends first. */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { EventEmitter } from "node:events"
import * as Connection from "../../../../../src/server/endpoint/internal/browser/connection.ts"
import * as Fibers from "../../../../../src/server/endpoint/internal/browser/fibers.ts"
import * as Frame from "../../../../../src/server/endpoint/internal/browser/frame.ts"
import * as Outbox from "../../../../../src/server/endpoint/internal/browser/outbox.ts"
import * as EventLoop from "../../../../../src/transport/EventLoop.ts"
import { makeVhost } from "../../../../harness/browserSession.ts"
import { withStoppedClock } from "../../../../harness/stoppedClock.ts"

/** The next turn of the event loop. */
const immediate = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** A turn that has taken so many milliseconds. */
const turnOf = (pass: (millis: number) => void, millis: number) =>
  Effect.andThen(
    Effect.andThen(immediate, immediate),
    Effect.sync(() => {
      EventLoop.begin()
      pass(millis)
    })
  )

/** Browsers of one endpoint, without sockets, and whose messages were handled, in their order. */
const makeEndpoint = Effect.gen(function*() {
  const { vhost } = yield* makeVhost({ browsers: { messageRate: Infinity } })
  const options = {
    outboxes: Outbox.make({ outboxSize: Infinity, totalOutboxSize: Infinity }),
    node: undefined,
    byteRate: { perSecond: Infinity, burst: Infinity },
    onDisconnect: () => {},
    onClose: () => {},
    run: yield* Fibers.make(Duration.seconds(1))
  }
  const handled: Array<string> = []
  const enter = (name: string) => {
    const written: Array<Uint8Array> = []
    const socket = Object.assign(new EventEmitter(), {
      bytesRead: 0,
      writable: true,
      writableLength: 0,
      isPaused: () => ws.isPaused,
      write: (bytes: Uint8Array) => written.push(bytes)
    })
    const ws = Object.assign(new EventEmitter(), {
      isPaused: false,
      pause: () => ws.isPaused = true,
      resume: () => ws.isPaused = false
    })
    const entered = { address: undefined, release: () => {}, vhost, version: 0, ws, socket } as unknown
    const connection = Connection.make(entered as Connection.Entered, options)
    const { handle } = connection.session
    Object.assign(connection.session, {
      handle: (message: string) => {
        handled.push(name)
        return handle(message)
      }
    })
    return {
      connection,
      written,
      isPaused: () => ws.isPaused,
      /** It sends so many messages, which are read now. */
      sends: (count = 1) => {
        for (let n = 0; n < count; n++) ws.emit("message", Buffer.from(`{"ping":{}}`), false)
      }
    }
  }
  // It is counted from the first turn on that is over.
  const sendMany = (browser: ReturnType<typeof enter>, pass: (millis: number) => void) =>
    Effect.gen(function*() {
      yield* turnOf(pass, 9)
      browser.sends(1)
      yield* immediate
      browser.sends(100)
      while (handled.length < 101) yield* immediate
    })
  return { enter, handled, sendMany }
})

describe("a connection of a browser", () => {
  it.live("is read on in a turn that is over, if its browser has sent little, and waits if that has sent much", () =>
    withStoppedClock(Effect.fnUntraced(function*(pass) {
      const { enter, handled, sendMany } = yield* makeEndpoint
      const [busy, quiet] = [enter("busy"), enter("quiet")]
      yield* sendMany(busy, pass)
      handled.length = 0
      yield* turnOf(pass, 9)
      busy.sends(2)
      expect([handled, busy.isPaused()]).toEqual([[], true])
      quiet.sends(2)
      expect([handled, quiet.isPaused()]).toEqual([["quiet", "quiet"], false])
      while (handled.length < 4) yield* immediate
      expect([handled.slice(2), busy.isPaused()]).toEqual([["busy", "busy"], false])
      // A second later it has sent little.
      handled.length = 0
      pass(1000)
      yield* turnOf(pass, 9)
      busy.sends()
      expect(handled).toEqual(["busy"])
    })))

  it.live("waits in a turn that has taken twice its time, and has the next one before those that send much", () =>
    withStoppedClock(Effect.fnUntraced(function*(pass) {
      const { enter, handled, sendMany } = yield* makeEndpoint
      const [busy, a, b] = [enter("busy"), enter("a"), enter("b")]
      yield* sendMany(busy, pass)
      handled.length = 0
      yield* turnOf(pass, 17)
      for (const browser of [busy, a, b, a]) browser.sends()
      expect([handled, a.isPaused(), b.isPaused()]).toEqual([[], true, true])
      while (handled.length < 4) yield* immediate
      expect([handled, a.isPaused(), b.isPaused()]).toEqual([["a", "a", "b", "busy"], false, false])
    })))

  it.live("sends `:connected` before the first ping, whenever that comes", () =>
    Effect.gen(function*() {
      const { enter } = yield* makeEndpoint
      const { connection, written } = enter("a")
      Connection.ping(connection)
      expect(Connection.isSilent(connection)).toBe(false)
      while (written.length === 0) yield* immediate
      expect(Buffer.from(written[0]!).toString()).toContain(":connected")
      Connection.ping(connection)
      expect(written.slice(1)).toEqual([Frame.ping])
      expect(Connection.isSilent(connection)).toBe(true)
    }))
})
