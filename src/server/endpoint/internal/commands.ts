/**
 * What each message of a browser does.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

import type { FromBrowser, Id } from "../../../protocol/BrowserMessage.ts"
import type { ObjectText } from "../../../protocol/JsonText.ts"
import {
  ForbiddenError,
  InternalError,
  NotSubscribedError,
  type StatusError,
  TooManyRequestsError
} from "../../../protocol/KosmonautError.ts"
import * as PageMessage from "../../../protocol/PageMessage.ts"
import * as Trace from "../../../protocol/Trace.ts"
import { encodeOrigin } from "../../../protocol/Trigger.ts"
import type { Page } from "../../domain/Page.ts"
import type { Permission } from "../../domain/Permission.ts"
import { notKept } from "../../engine/Journal.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import * as BrowserRates from "./browserRates.ts"
import * as TokenBucket from "./tokenBucket.ts"

/** A session's state. */
export interface State {
  readonly vhost: Vhost
  readonly page: Page
  permission: Permission | undefined
  /** Most events of a browser have the same origin: one text, however many of them are queued. */
  origin: string
  /** How many more single access tokens may be wrong, once one was presented. */
  guesses: TokenBucket.Bucket | undefined
  /** Nothing is carried out any more. */
  hasEnded: boolean
}

/** Carries out a message; `false` says that the browser asked to be closed. */
export const carryOut = (state: State, message: FromBrowser): Effect.Effect<boolean, StatusError> => {
  const { page, vhost: { channels } } = state
  switch (message._tag) {
    case "Authenticate":
      return Effect.as(authenticate(state, message), true)
    case "Subscribe":
      return Effect.as(channels.subscribe(message.channel, page, { ...message, permission: state.permission }), true)
    case "Unsubscribe":
      return Effect.as(channels.unsubscribe(message.channel, page, message.data, message.id), true)
    case "Members":
      return Effect.as(channels.members(message.channel, page, message.after, message.id), true)
    case "Broadcast":
      return Effect.andThen(broadcast(state, message), confirm(state, "broadcast", message.id))
    case "Trigger":
      return Effect.andThen(trigger(state, message.event, message.data), confirm(state, "trigger", message.id))
    case "Ping":
      return send(state, PageMessage.pong(message.id))
    case "Close":
      return Effect.as(send(state, PageMessage.closed(page.sid)), false)
  }
}

const send = ({ page }: State, message: string): Effect.Effect<boolean> =>
  Effect.sync(() => {
    page.sendUnsafe(message)
    return true
  })

const authenticate = Effect.fnUntraced(function*(state: State, { id, token }: Message<"Authenticate">) {
  const { accessTokens, journal } = state.vhost
  const now = yield* monotonicMillis
  const guesses = state.guesses ??= TokenBucket.make(BrowserRates.guesses, now)
  if (TokenBucket.available(guesses, BrowserRates.guesses, now) < 1) {
    return yield* new TooManyRequestsError({ detail: "too many single access tokens were wrong; wait a second" })
  }
  const permission = yield* Effect.tapError(
    accessTokens.redeem(token),
    () => Effect.sync(() => TokenBucket.take(guesses, BrowserRates.guesses, now, 1))
  )
  // A token that is used is used in the next broker, too.
  yield* journal.kept
  yield* identify(state, permission, id)
})

// Only a second good token drops what was subscribed before, as with the original. The browser may have gone meanwhile.
const identify = (state: State, permission: Permission, id: Id | undefined): Effect.Effect<void> => {
  const { page, vhost: { channels, pages } } = state
  const leave = state.permission === undefined ? Effect.void : channels.leave(page)
  return Effect.uninterruptible(Effect.andThen(
    leave,
    Effect.sync(() => {
      if (state.hasEnded) return
      state.permission = permission
      state.origin = encodeOrigin({ sid: page.sid, uid: permission.uid })
      pages.identifyUnsafe(page, permission.uid)
      page.sendUnsafe(PageMessage.authenticated(id))
    })
  ))
}

const trigger = (
  { origin, page, permission, vhost }: State,
  event: string,
  data: ObjectText,
  channel?: string
): Effect.Effect<void, ForbiddenError | InternalError> => {
  if (permission === undefined) {
    return Effect.fail(new ForbiddenError({ detail: "only an authenticated browser triggers events; send auth first" }))
  }
  const { uid } = permission
  return traced(event, vhost.path, (traceparent) =>
    vhost.lobby.trigger(
      PageMessage.triggered(event, data, page.sid, channel),
      channel === undefined && traceparent === undefined
        ? origin
        : encodeOrigin({ sid: page.sid, uid, channel, traceparent })
    ))
}

// The event for the worker first: if it is refused, nobody receives the broadcast either.
const broadcast = Effect.fnUntraced(function*(state: State, message: Message<"Broadcast">) {
  const { page, vhost: { channels, config } } = state
  const { channel, data, event } = message
  const subscribed = yield* channels.has(channel, page)
  if (!subscribed) return yield* new NotSubscribedError({ channel })
  if (!config.browsersBroadcast) return yield* onlyBackends
  if (message.trigger !== undefined) yield* trigger(state, message.trigger, data, channel)
  yield* channels.broadcast(channel, event, data, { from: page })
})

const onlyBackends = new ForbiddenError({
  detail: "browsers may not broadcast here: trigger an event and let a backend broadcast, " +
    "or start the broker with browsersBroadcast (--browsers-broadcast)"
})

// Not waited for: the browser goes on, and the id says what the response is to.
const confirm = (
  { page, vhost: { journal } }: State,
  event: "broadcast" | "trigger",
  id: Id | undefined
): Effect.Effect<boolean> =>
  id === undefined ? goesOn : Effect.sync(() => {
    const refused = () => PageMessage.error(new InternalError({ detail: notKept }), { event, id })
    journal.whenKeptUnsafe((kept) => page.sendUnsafe(kept ? PageMessage.confirmed(id) : refused()))
    return true
  })

const goesOn = Effect.succeed(true)

// A trace begins here: what a browser says of one does not count.
const traced = <A, E>(
  event: string,
  vhost: string,
  use: (traceparent: string | undefined) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Trace.span("Broker.trigger", () => ({
    kind: "producer",
    root: true,
    attributes: {
      "messaging.system": "kosmonaut",
      "messaging.operation.type": "send",
      "messaging.operation.name": "trigger",
      "kosmonaut.vhost": vhost,
      "kosmonaut.event": event
    }
  }), (span) => use(span && Trace.toTraceparent(span)))

/** Milliseconds of a clock that never goes back. */
export const monotonicOf = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

const monotonicMillis = Clock.clockWith((clock) => Effect.sync(() => monotonicOf(clock)))

type Message<Tag extends FromBrowser["_tag"]> = Extract<FromBrowser, { readonly _tag: Tag }>
