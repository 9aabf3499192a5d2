/**
 * A browser of a broker under test, in memory: it sends what browsers send and records what they receive.
 *
 * It uses the broker's own session of a browser, without a WebSocket. What it sends is handled and answered when the effect
 * that sends it ends. What it receives arrives at once and in order; nothing is dropped.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as TypedEvent from "../events/Event.ts"
import * as Json from "../protocol/Json.ts"
import {
  fromCode,
  InternalError,
  type MessageDecodeError,
  MessageEncodeError,
  type StatusError
} from "../protocol/KosmonautError.ts"
import * as TaggedError from "../protocol/TaggedError.ts"
import type { Event } from "../protocol/Trigger.ts"
import type { Browser } from "../server/domain/Browser.ts"
import * as BrowserSession from "../server/endpoint/BrowserSession.ts"
import type * as Engine from "../server/engine/Vhosts.ts"
import * as VhostViews from "../server/engine/VhostViews.ts"
import type { Vhost } from "../server/Vhosts.ts"
import * as Inbox from "./internal/inbox.ts"

const tagged = TaggedError.make("kosmonaut/testing/TestBrowser")

/**
 * The browser's connection has ended: it was closed, disconnected by a backend or beyond a limit, or its vhost was removed.
 *
 * @since 0.1.0
 */
export class BrowserClosedError extends tagged<BrowserClosedError>()(
  "BrowserClosedError",
  { sid: Schema.String },
  ({ sid }) => `The browser ${sid} is no longer connected`
) {}

/**
 * The browser has not received an event in time. `received` has all events that it has received so far, in order.
 *
 * @since 0.1.0
 */
export class NotReceivedError extends tagged<NotReceivedError>()(
  "NotReceivedError",
  {
    sid: Schema.String,
    event: Schema.String,
    after: Schema.Duration,
    received: Schema.Array(Schema.Struct({ event: Schema.String, data: Schema.JsonObject }))
  },
  ({ after, event, received, sid }) =>
    `The browser ${sid} has not received "${event}" within ${Duration.format(after)}. ` +
    `It has received ${received.slice(-20).map(shortly).join(", ")}`
) {}

/**
 * Why a message of a browser failed: the broker answered `:error`, which becomes the error of its status code; the browser is
 * no longer connected; or the data cannot be encoded as JSON, and nothing was sent.
 *
 * @since 0.1.0
 */
export type SendError = StatusError | BrowserClosedError | MessageEncodeError

/**
 * A browser, connected until it is closed, its vhost is removed or its scope ends.
 *
 * The response to a message belongs to the effect that sent it; `received` does not return it.
 *
 * @since 0.1.0
 */
export interface TestBrowser {
  /** The id of its connection, as handlers see it in `data.sid`. */
  readonly sid: string
  /** Authenticates with a single access token of a Client's `requestSingleAccessToken`, which can be used once. */
  readonly authenticate: (token: string | Redacted.Redacted) => Effect.Effect<void, SendError>
  /**
   * Subscribes, and returns the data of `:subscribed`: the `channel`, the `uid` on private and presence channels, and on
   * presence channels the `subscribers`. For a browser that is subscribed already it is the channel alone, because the
   * broker does not answer then.
   */
  readonly subscribe: (channel: string, options?: {
    /** Whether the others do not see this browser, default no. */
    readonly hidden?: boolean | undefined
    /** The data of this browser for the others on a presence channel, default `{}`. */
    readonly data?: object | undefined
  }) => Effect.Effect<Json.JsonObject, SendError>
  /** Unsubscribes; `data` is sent to the others on a presence channel, default `{}`. */
  readonly unsubscribe: (channel: string, data?: object) => Effect.Effect<void, SendError>
  /**
   * Triggers an event for a worker, which only an authenticated browser may: by its name, with `data` default `{}`, or a
   * declared event with the data of its Schema.
   */
  readonly trigger: {
    (event: string, data?: object): Effect.Effect<void, SendError>
    <E extends TypedEvent.Any>(event: E, data: TypedEvent.Payload<E>): Effect.Effect<void, SendError>
  }
  /**
   * Broadcasts to a channel that it is subscribed to, and triggers the event `trigger` with the same data if that is given. Forbidden
   * unless the broker has `browsers.broadcast`.
   */
  readonly broadcast: (
    channel: string,
    event: string,
    data?: object,
    trigger?: string
  ) => Effect.Effect<void, SendError>
  /** Sends anything: text as it is, anything else as JSON. Responses, errors too, are for `received`. */
  readonly send: (message: unknown) => Effect.Effect<void, BrowserClosedError | MessageEncodeError>
  /**
   * Waits for the next event of this name, and returns its data. Each event is returned once, in order for each name; events
   * of other names can still be received, also those that arrived before. Names that begin with `:` are the broker's. The data
   * of a declared event are decoded by its Schema.
   *
   * Fails with `BrowserClosedError` when the connection has ended and no such event is left, and with `NotReceivedError`,
   * which lists what was received instead, after the broker's `receiveTimeout`: default 3 seconds, in real time also with
   * `TestClock`, so that a test that waits in vain fails with the reason.
   */
  readonly received: {
    (event: string): Effect.Effect<Json.JsonObject, BrowserClosedError | NotReceivedError>
    <E extends TypedEvent.Any>(
      event: E
    ): Effect.Effect<TypedEvent.Payload<E>, BrowserClosedError | NotReceivedError | MessageDecodeError>
  }
  /** All events that have arrived so far, in order, whether or not `received` has returned them. `:connected` is the first. */
  readonly allReceived: Effect.Effect<ReadonlyArray<Event>>
  /** Sends `close`, receives `:closed`, and the connection ends. Does nothing if it has ended already. */
  readonly close: Effect.Effect<void>
  /**
   * Waits until the connection has ended, and returns the close code: 1000 after `close`, 1009 after a message that was too
   * large, 1001 when its vhost was removed or its scope has ended, 1013 beyond its rates, 4403 when a backend has
   * disconnected it.
   */
  readonly closed: Effect.Effect<number>
}

/**
 * Connects a browser to a vhost, with the limits of its broker. At the end of its scope it disconnects without `close`, as when
 * a window is closed.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(vhost: Vhost, options: {
  /** How long `received` waits, in real time. Default 3 seconds. */
  readonly receiveTimeout?: Duration.Input | undefined
} = {}): Effect.fn.Return<TestBrowser, never, Scope.Scope> {
  const engine = VhostViews.ofView(vhost)
  const { end, inbox, browser, session } = yield* connect(engine)
  const timeout = Duration.fromInputUnsafe(options.receiveTimeout ?? defaultReceiveTimeout)
  // A browser's messages are handled in order, one at a time.
  const turns = yield* Semaphore.make(1)

  const handle = Effect.fnUntraced(function*(text: string) {
    if (encoder.encode(text).length > engine.config.maxMessageSize) yield* end(1009)
    if (inbox.hasEnded()) return yield* new BrowserClosedError({ sid: browser.sid })
    const goesOn = yield* session.handle(text)
    if (!goesOn) yield* end(1000)
  })
  const send = Effect.fnUntraced(function*(message: unknown) {
    const text = typeof message === "string" ? message : yield* encode(message)
    yield* turns.withPermits(1)(handle(text))
  })
  // The session has answered when it has handled a message.
  const call = Effect.fnUntraced(function*(name: string, payload: object, answer?: string) {
    const text = yield* encode({ [name]: payload })
    return yield* turns.withPermits(1)(Effect.gen(function*() {
      const before = inbox.size()
      yield* handle(text)
      const error = inbox.take(":error", before)
      if (error !== undefined) return yield* Effect.fail(refusal(error, name, payload))
      return answer === undefined ? undefined : inbox.take(answer, before)
    }))
  })

  const next = makeNext(inbox, browser.sid, timeout)
  function received(event: string): ReturnType<typeof next>
  function received<E extends TypedEvent.Any>(
    event: E
  ): Effect.Effect<TypedEvent.Payload<E>, Effect.Error<ReturnType<typeof next>> | MessageDecodeError>
  function received(event: string | TypedEvent.Any): Effect.Effect<unknown, NextError | MessageDecodeError> {
    return typeof event === "string"
      ? next(event)
      : Effect.flatMap(next(event._tag), (data) => Effect.fromResult(TypedEvent.decode(event, data)))
  }

  return {
    sid: browser.sid,
    authenticate: (token) => Effect.asVoid(call("auth", { token: textOf(token) }, ":authenticated")),
    subscribe: (channel, options) =>
      Effect.map(call("subscribe", { channel, ...options }, ":subscribed"), (answer) => answer ?? { channel }),
    unsubscribe: (channel, data) => Effect.asVoid(call("unsubscribe", { channel, data }, ":unsubscribed")),
    trigger: (event: string | TypedEvent.Any, data?: unknown) =>
      typeof event === "string"
        ? Effect.asVoid(call("trigger", { event, data }))
        : Effect.flatMap(
          Effect.fromResult(TypedEvent.encode(event, data)),
          (json) => Effect.asVoid(call("trigger", { event: event._tag, data: Json.parseObjectOrEmpty(json) }))
        ),
    broadcast: (channel, event, data, trigger) => Effect.asVoid(call("broadcast", { channel, event, data, trigger })),
    send,
    received,
    allReceived: inbox.received,
    close: Effect.ignore(send({ close: {} })),
    closed: inbox.ended
  }
})

type NextError = BrowserClosedError | NotReceivedError

/**
 * The default of `receiveTimeout`: less than vitest waits for a test.
 *
 * @since 0.1.0
 */
export const defaultReceiveTimeout: Duration.Input = "3 seconds"

// Waits no longer than `timeout` in real time, because a test's clock may stand still.
const makeNext = (inbox: Inbox.Inbox, sid: string, timeout: Duration.Duration) => {
  const late = (event: string) =>
    Effect.sleep(timeout).pipe(
      Effect.provideService(Clock.Clock, Clock.Clock.defaultValue()),
      Effect.andThen(inbox.received),
      Effect.flatMap((received) => Effect.fail(new NotReceivedError({ sid, event, after: timeout, received })))
    )
  return (event: string): Effect.Effect<Json.JsonObject, NextError> =>
    Effect.suspend(() => {
      const data = inbox.take(event)
      return data !== undefined ? Effect.succeed(data) : Effect.raceFirst(
        Effect.mapError(inbox.next(event), () => new BrowserClosedError({ sid })),
        late(event)
      )
    })
}

// The broker's `:error` as the error of its status code, as far as a browser can see.
const refusal = (error: Json.JsonObject, name: string, payload: object): StatusError => {
  const channel = "channel" in payload ? String(payload.channel) : ""
  const detail = `the broker answered ${name} with :error ${JSON.stringify(error)}`
  const made = fromCode(Number(error.code), { channel, detail })
  return made._tag === "UnknownServerError" ? new InternalError({ detail }) : made
}

// The data of errors are of interest; other data may be long.
const shortly = ({ data, event }: Event): string =>
  event === ":error" ? `:error ${JSON.stringify(data)}` : event.slice(0, 100)

const connect = Effect.fnUntraced(function*(vhost: Engine.Vhost) {
  const inbox = Inbox.make()
  const browser: Browser = {
    sid: SecureRandom.uuidV4Unsafe(),
    version: 0,
    sendUnsafe: inbox.receiveUnsafe,
    closeUnsafe: inbox.endUnsafe
  }
  const session = BrowserSession.make(vhost, browser)
  const end = (code: number) =>
    Effect.suspend(() => {
      inbox.endUnsafe(code)
      return session.end(BrowserSession.mayReturn(code))
    })
  yield* Effect.addFinalizer(() => end(1001))
  yield* Effect.as(vhost.removed, 1001).pipe(
    Effect.raceFirst(inbox.ended),
    Effect.flatMap(end),
    Effect.forkScoped
  )
  return { inbox, browser, session, end }
})

const encode = (message: unknown): Effect.Effect<string, MessageEncodeError> =>
  Effect.fromResult(Result.mapError(
    Json.stringify(message),
    (cause) =>
      new MessageEncodeError({ argument: "the message of a browser", detail: "it cannot be encoded as JSON", cause })
  ))

const textOf = (token: string | Redacted.Redacted): string => Redacted.isRedacted(token) ? Redacted.value(token) : token

const encoder = new TextEncoder()
