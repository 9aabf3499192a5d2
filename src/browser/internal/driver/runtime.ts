/**
 * A browser at work: the driver of its connection, and everybody who waits for something of it.
 *
 * If a step of the driver has a defect, all of them die of it, and it is logged.
 */

import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import { EventsDroppedError } from "../../BrowserError.ts"
import { ConnectionState } from "../../ConnectionState.ts"
import type * as Output from "../output.ts"
import * as Calls from "./calls.ts"
import * as Channels from "./channels.ts"
import type { Report } from "./consumers.ts"
import * as Driver from "./driver.ts"
import * as Errors from "./errors.ts"
import * as EventHub from "./eventHub.ts"
import * as Latest from "./latest.ts"
import type { Settings } from "./settings.ts"

/** What the service is made of. */
export interface Runtime {
  readonly state: Latest.Latest<ConnectionState>
  readonly channels: Channels.Channels
  readonly calls: Calls.Calls
  /** The events that were sent to this browser alone. */
  readonly direct: EventHub.EventHub
  readonly connect: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

/** Makes it, and connects. It is closed at the end of the scope. */
export const make = Effect.fnUntraced(function*<R>(
  { connectTimeout, eventBuffer, machine, url }: Settings,
  token: Effect.Effect<Driver.Token, unknown, R>,
  report: Report
): Effect.fn.Return<Runtime, never, R | Scope.Scope | Socket.WebSocketConstructor> {
  const calls = Calls.make(() => driver)
  const channels = Channels.make(() => driver, { eventBuffer, report, timeout: connectTimeout })
  const state = Latest.make<ConnectionState>(ConnectionState.Connecting({ attempt: 0 }))
  const direct = EventHub.make({
    hasBacklog: false,
    limit: eventBuffer,
    onDrop: ({ event }) => report(new EventsDroppedError({ channel: "", event }))
  })
  const end = (exit?: Exit.Exit<never>) => {
    channels.endUnsafe(exit)
    direct.endUnsafe(exit)
    state.endUnsafe(exit)
  }
  const defect = yield* Deferred.make<never>()
  yield* Effect.forkScoped(
    Effect.catchCause(Deferred.await(defect), (cause) => Effect.logError("A browser's connection has died", cause))
  )
  // The driver closes first.
  yield* Effect.addFinalizer(() => Effect.sync(end))
  const driver: Driver.Driver = yield* Driver.make({
    url,
    options: { ...machine, client: yield* clientId },
    token,
    onNotice: (notice, bytes) =>
      dispatch({ calls, channels, connectTimeout, direct, driver, report, state }, notice, bytes),
    onDefect: (cause) => {
      const exit = Exit.failCause(cause)
      calls.endUnsafe(exit)
      end(exit)
      Deferred.doneUnsafe(defect, exit)
    }
  })
  const connect = Effect.sync(() => driver.giveUnsafe({ _tag: "Connect" }))
  yield* connect
  return { state, channels, calls, direct, connect, close: Effect.sync(() => driver.giveUnsafe({ _tag: "Close" })) }
})

// Passes what has happened to whoever waits for it.
const dispatch = (
  { calls, channels, connectTimeout, direct, driver, report, state }:
    & Pick<Runtime, "calls" | "channels" | "direct" | "state">
    & { readonly driver: Driver.Driver; readonly report: Report; readonly connectTimeout: number },
  notice: Driver.Notice,
  bytes: number
): void => {
  switch (notice._tag) {
    case "Settle":
      return calls.settleUnsafe(notice.call, notice.result)
    case "State":
      return state.setUnsafe(toState(notice.state, driver.nowUnsafe()))
    case "Subscription":
      return channels.stateChangedUnsafe(notice.channel, notice.state)
    case "Members":
      return channels.membersChangedUnsafe(notice.channel)
    case "Gap":
      return channels.missedUnsafe(notice.channel, notice.reason)
    case "Event":
      return channels.receivedUnsafe(notice.channel, {
        event: notice.event,
        data: notice.data,
        cursor: notice.cursor,
        bytes
      })
    case "Direct":
      return direct.emitUnsafe({ event: notice.event, data: notice.data, bytes })
    case "Error":
      return report(Errors.fromFailure(notice.failure, { ...connecting, timeout: connectTimeout }))
  }
}

const connecting = { operation: "connect", event: "", channel: "" }

// 128 random bits in hexadecimal digits.
const clientId = Effect.map(
  Random.Random,
  (random) =>
    Array.from({ length: 4 }, () => Math.floor(random.nextDoubleUnsafe() * 2 ** 32).toString(16).padStart(8, "0")).join(
      ""
    )
)

const toState = (state: Output.ConnectionState, now: number): ConnectionState => {
  switch (state._tag) {
    case "Idle":
      return ConnectionState.Connecting({ attempt: 0 })
    case "Connecting":
      return ConnectionState.Connecting({ attempt: state.attempt })
    case "Connected":
      return ConnectionState.Connected({ sid: state.sid, isAuthenticated: state.isAuthenticated, uid: state.uid })
    case "Waiting": {
      const retryAfter = Duration.millis(Math.max(0, Math.round(state.until - now)))
      return ConnectionState.Disconnected({ code: state.code, reason: state.reason, retryAfter })
    }
    case "Closed":
      return ConnectionState.Closed({ code: state.code, reason: state.reason })
  }
}
