/**
 * What one browser's connection may do and has done: who it is, and what happens to each of its messages.
 *
 * A session knows no socket. It answers every message that is wrong with the protocol's `:error` and changes nothing then.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { JsonObject } from "../../protocol/Json.ts"
import { ForbiddenError, InternalError, NotSubscribedError, type StatusError } from "../../protocol/KosmonautError.ts"
import * as PageMessage from "../../protocol/PageMessage.ts"
import * as Trace from "../../protocol/Trace.ts"
import { encodeOrigin } from "../../protocol/Trigger.ts"
import type { Page } from "../domain/Page.ts"
import type { Permission } from "../domain/Permission.ts"
import { notKept } from "../engine/Journal.ts"
import type { Vhost } from "../engine/Vhosts.ts"

/**
 * One browser's session.
 *
 * @since 0.1.0
 */
export interface PageSession {
  /** Carries out one message; `false` says that the page asked to be closed. */
  readonly handle: (message: string | Uint8Array) => Effect.Effect<boolean>
  /** Whether it has shown a good token. */
  readonly isAuthenticated: () => boolean
  /** The connection has ended: the page is taken off its channels. */
  readonly end: Effect.Effect<void>
}

/**
 * Begins a session and greets the page.
 *
 * @since 0.1.0
 */
export const make = (vhost: Vhost, page: Page): PageSession => {
  const { accessTokens, channels, journal, lobby, pages } = vhost
  let permission: Permission | undefined
  // Most events of a page have the same origin: one text, however many of them wait.
  let origin = ""
  pages.enterUnsafe(page)
  page.sendUnsafe(PageMessage.connected(page.sid))

  const authenticate = Effect.fnUntraced(function*(token: string) {
    const granted = yield* accessTokens.redeem(token)
    // A token that is used is used in the next broker, too.
    yield* journal.kept
    yield* channels.leave(page)
    permission = granted
    origin = encodeOrigin({ sid: page.sid, uid: granted.uid })
    pages.identifyUnsafe(page, granted.uid)
    page.sendUnsafe(PageMessage.authenticated)
  })

  const trigger = (
    event: string,
    data: JsonObject,
    channel?: string
  ): Effect.Effect<void, ForbiddenError | InternalError> => {
    if (permission === undefined) {
      return Effect.fail(new ForbiddenError({ detail: "only an authenticated page triggers events" }))
    }
    const { uid } = permission
    return traced(event, vhost.path, (traceparent) =>
      lobby.trigger(
        PageMessage.triggered(event, data, page.sid, channel),
        channel === undefined && traceparent === undefined
          ? origin
          : encodeOrigin({ sid: page.sid, uid, channel, traceparent })
      ))
  }

  const carryOut = (message: PageMessage.FromPage): Effect.Effect<boolean, StatusError> => {
    switch (message._tag) {
      case "Authenticate":
        return Effect.as(authenticate(message.token), true)
      case "Subscribe":
        return Effect.as(channels.subscribe(message.channel, page, { ...message, permission }), true)
      case "Unsubscribe":
        return Effect.as(channels.unsubscribe(message.channel, page, message.data), true)
      case "Broadcast":
        return Effect.andThen(broadcast(message), confirm(message.id))
      case "Trigger":
        return Effect.andThen(trigger(message.event, message.data), confirm(message.id))
      case "Close":
        return Effect.sync(() => {
          page.sendUnsafe(PageMessage.closed(page.sid))
          return false
        })
    }
  }

  // Not waited for: the page goes on, and the answer says what it answers.
  const confirm = (id: PageMessage.Id | undefined): Effect.Effect<boolean> =>
    id === undefined ? goesOn : Effect.sync(() => {
      journal.whenKeptUnsafe((kept) =>
        page.sendUnsafe(
          kept ? PageMessage.confirmed(id) : PageMessage.error(new InternalError({ detail: notKept }), id)
        )
      )
      return true
    })

  // The event for the worker first: where it cannot be taken, nobody hears the broadcast either.
  const broadcast = Effect.fnUntraced(function*(message: Extract<PageMessage.FromPage, { _tag: "Broadcast" }>) {
    const { channel, data, event } = message
    const subscribed = yield* channels.has(channel, page)
    if (!subscribed) return yield* new NotSubscribedError({ channel })
    if (!vhost.config.browsersBroadcast) {
      return yield* new ForbiddenError({ detail: "only backends broadcast here; trigger an event instead" })
    }
    if (message.trigger !== undefined) yield* trigger(message.trigger, data, channel)
    yield* channels.broadcast(channel, event, data, { from: page })
  })

  const refuse = (error: StatusError, id?: PageMessage.Id): Effect.Effect<boolean> =>
    Effect.sync(() => {
      page.sendUnsafe(PageMessage.error(error, id))
      return true
    })

  return {
    handle: (message) =>
      Effect.suspend(() => {
        const decoded = PageMessage.decode(message)
        return Result.isFailure(decoded)
          ? refuse(decoded.failure)
          : Effect.catch(
            carryOut(decoded.success),
            (error) => refuse(error, "id" in decoded.success ? decoded.success.id : undefined)
          )
      }),
    isAuthenticated: () => permission !== undefined,
    end: Effect.andThen(channels.leave(page), Effect.sync(() => pages.leaveUnsafe(page)))
  }
}

const goesOn = Effect.succeed(true)

// A trace begins here: what a page says of one does not count.
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
