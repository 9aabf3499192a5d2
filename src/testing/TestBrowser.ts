/**
 * A page of a broker under test, without a browser: it says what pages say and keeps what pages hear.
 *
 * Behind it is the broker's own session of a page; only the WebSocket between is missing. What it says is carried out and
 * answered when the effect that says it ends. What it hears is there at once and is kept in order; nothing is dropped.
 *
 * @since 0.1.0
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as TypedEvent from "../events/Event.ts"
import * as Json from "../protocol/Json.ts"
import { type MessageDecodeError, MessageEncodeError, type StatusError } from "../protocol/KosmonautError.ts"
import type { Event } from "../protocol/Trigger.ts"
import type { Page } from "../server/domain/Page.ts"
import * as PageSession from "../server/endpoint/PageSession.ts"
import type { Vhost } from "../server/engine/Vhosts.ts"
import * as Inbox from "./internal/inbox.ts"
import { refusal } from "./internal/refusal.ts"

/**
 * The page's connection has ended: by itself, by a backend, or because its vhost was removed.
 *
 * @since 0.1.0
 */
export class BrowserClosedError
  extends Schema.TaggedError<BrowserClosedError>("kosmonaut/testing/TestBrowser/BrowserClosedError")(
    "BrowserClosedError",
    { sid: Schema.String }
  )
{
  override get message(): string {
    return `The page ${this.sid} is no longer connected`
  }
}

/**
 * Why something that a page said was not done: the broker answered `:error`, which becomes the error of its status code;
 * the page is no longer connected; or what it was to say cannot be written as JSON, and nothing was said.
 *
 * @since 0.1.0
 */
export type SayError = StatusError | BrowserClosedError | MessageEncodeError

/**
 * A page, connected until it is closed, its vhost is removed or its scope ends.
 *
 * An answer to what is said here belongs to the effect that said it, and `received` does not give it again.
 *
 * @since 0.1.0
 */
export interface TestBrowser {
  /** The connection's public name, as handlers see it in `data.sid`. */
  readonly sid: string
  /** Shows a single access token, as a Client's `requestSingleAccessToken` gives it. It is used up then. */
  readonly authenticate: (token: string | Redacted.Redacted) => Effect.Effect<void, SayError>
  /**
   * Subscribes, and gives what `:subscribed` says: the `channel`, the `uid` on private and presence channels, and on
   * presence channels the `subscribers` that were there. For a page that is on the channel already it is the channel
   * alone, since the broker does not answer that.
   */
  readonly subscribe: (channel: string, options?: {
    /** Whether the others do not see this page, default no. */
    readonly hidden?: boolean | undefined
    /** What the others on a presence channel are told of this page, default `{}`. */
    readonly data?: object | undefined
  }) => Effect.Effect<Json.JsonObject, SayError>
  /** Leaves a channel; `data` is what the others on a presence channel are told then, default `{}`. */
  readonly unsubscribe: (channel: string, data?: object) => Effect.Effect<void, SayError>
  /**
   * Triggers an event for a worker, which only an authenticated page may: by its name, and `data` is `{}` where absent, or
   * one that is defined, with the data that its Schema says.
   */
  readonly trigger: {
    (event: string, data?: object): Effect.Effect<void, SayError>
    <E extends TypedEvent.Any>(event: E, data: TypedEvent.Data<E>): Effect.Effect<void, SayError>
  }
  /** Broadcasts to a channel that it is on, and triggers the event `trigger` with the same data where that is given. */
  readonly broadcast: (
    channel: string,
    event: string,
    data?: object,
    trigger?: string
  ) => Effect.Effect<void, SayError>
  /** Says anything: text as it is, anything else as JSON. Answers, errors too, are for `received`. */
  readonly send: (message: unknown) => Effect.Effect<void, BrowserClosedError | MessageEncodeError>
  /**
   * Waits for the next event of this name, and gives its data. Each event is given once, in order for each name; those
   * of other names stay to be received by theirs, also those that came before. Names that begin with `:` are the
   * broker's. Fails when the connection has ended and no such event is left. An event that is defined is waited for by
   * its name on the wire, and its data are read by its Schema.
   */
  readonly received: {
    (event: string): Effect.Effect<Json.JsonObject, BrowserClosedError>
    <E extends TypedEvent.Any>(event: E): Effect.Effect<TypedEvent.Data<E>, BrowserClosedError | MessageDecodeError>
  }
  /** Everything that was heard so far, in order, whether or not it was received. `:connected` is the first. */
  readonly heard: Effect.Effect<ReadonlyArray<Event>>
  /** Says `close`, hears `:closed`, and the connection ends. Where it has ended it does nothing. */
  readonly close: Effect.Effect<void>
  /**
   * Waits until the connection has ended, and gives the code of it: 1000 after `close`, 1009 after a message that was too
   * large, 1001 when its vhost or itself has gone, 4403 when a backend has disconnected it.
   */
  readonly closed: Effect.Effect<number>
}

/**
 * Connects a page to a vhost. At the end of its scope it goes without a word, as when a window is closed.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(vhost: Vhost, options: {
  /** The largest message in bytes. A larger one ends the connection. */
  readonly maxMessageSize: number
}): Effect.fn.Return<TestBrowser, never, Scope.Scope> {
  const { end, inbox, page, session } = yield* connect(vhost)
  // A page's messages are handled in order, one at a time.
  const turns = yield* Semaphore.make(1)

  const handle = Effect.fnUntraced(function*(text: string) {
    if (encoder.encode(text).length > options.maxMessageSize) yield* end(1009)
    if (inbox.hasEnded()) return yield* new BrowserClosedError({ sid: page.sid })
    const goesOn = yield* session.handle(text)
    if (!goesOn) yield* end(1000)
  })
  const send = Effect.fnUntraced(function*(message: unknown) {
    const text = typeof message === "string" ? message : yield* encode(message)
    yield* turns.withPermits(1)(handle(text))
  })
  // The session has answered when it has handled a message.
  const say = Effect.fnUntraced(function*(name: string, payload: object, answer?: string) {
    const text = yield* encode({ [name]: payload })
    return yield* turns.withPermits(1)(Effect.gen(function*() {
      const before = inbox.size()
      yield* handle(text)
      const error = inbox.take(":error", before)
      if (error !== undefined) return yield* Effect.fail(refusal(error, name, payload))
      return answer === undefined ? undefined : inbox.take(answer, before)
    }))
  })

  const next = (event: string) => Effect.mapError(inbox.next(event), () => new BrowserClosedError({ sid: page.sid }))
  function received(event: string): ReturnType<typeof next>
  function received<E extends TypedEvent.Any>(
    event: E
  ): Effect.Effect<TypedEvent.Data<E>, BrowserClosedError | MessageDecodeError>
  function received(event: string | TypedEvent.Any): Effect.Effect<unknown, BrowserClosedError | MessageDecodeError> {
    return typeof event === "string"
      ? next(event)
      : Effect.flatMap(next(event.wireName), (data) => Effect.fromResult(TypedEvent.decode(event, data)))
  }

  return {
    sid: page.sid,
    authenticate: (token) =>
      Effect.asVoid(
        say("auth", { token: Redacted.isRedacted(token) ? Redacted.value(token) : token }, ":authenticated")
      ),
    subscribe: (channel, options) =>
      Effect.map(say("subscribe", { channel, ...options }, ":subscribed"), (answer) => answer ?? { channel }),
    unsubscribe: (channel, data) => Effect.asVoid(say("unsubscribe", { channel, data }, ":unsubscribed")),
    trigger: (event: string | TypedEvent.Any, data?: unknown) =>
      typeof event === "string"
        ? Effect.asVoid(say("trigger", { event, data }))
        : Effect.flatMap(
          Effect.fromResult(TypedEvent.encode(event, data)),
          (json) => Effect.asVoid(say("trigger", { event: event.wireName, data: Json.parseObjectOrEmpty(json) }))
        ),
    broadcast: (channel, event, data, trigger) => Effect.asVoid(say("broadcast", { channel, event, data, trigger })),
    send,
    received,
    heard: inbox.heard,
    close: Effect.ignore(send({ close: {} })),
    closed: inbox.ended
  }
})

// The one place where a page is made.
const connect = Effect.fnUntraced(function*(vhost: Vhost) {
  const inbox = Inbox.make()
  const page: Page = {
    sid: SecureRandom.uuidV4Unsafe(),
    version: 0,
    sendUnsafe: inbox.hearUnsafe,
    closeUnsafe: inbox.endUnsafe
  }
  const session = PageSession.make(vhost, page)
  const end = (code: number) =>
    Effect.suspend(() => {
      inbox.endUnsafe(code)
      return session.end
    })
  yield* Effect.addFinalizer(() => end(1001))
  yield* Effect.as(vhost.removed, 1001).pipe(
    Effect.raceFirst(inbox.ended),
    Effect.flatMap(end),
    Effect.forkScoped
  )
  return { inbox, page, session, end }
})

const encode = (message: unknown): Effect.Effect<string, MessageEncodeError> =>
  Effect.fromResult(Result.mapError(
    Json.stringify(message),
    (cause) => new MessageEncodeError({ argument: "what a page says", detail: "it cannot be written as JSON", cause })
  ))

const encoder = new TextEncoder()
