/**
 * The handlers of `AdminApi`, by group. Changes are persisted when they are answered.
 */

import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import * as Json from "../../../protocol/Json.ts"
import type { FindError } from "../../engine/Channels.ts"
import type * as Engine from "../../engine/Vhosts.ts"
import { AdminApi, Cookie, Validation } from "../AdminApi.ts"
import * as Errors from "../AdminError.ts"
import * as BrokerHandlers from "./brokerHandlers.ts"
import * as Browsers from "./browsers.ts"
import { find, findEngine, invalid, notFound, quote, unavailable } from "./outcomes.ts"
import * as Parts from "./parts.ts"
import { seconds } from "./seconds.ts"
import * as Tail from "./tail.ts"
import * as VhostHandlers from "./vhostHandlers.ts"

/** How large the JSON of a dead letter may be in a list. */
const maxListed = 16_384

const orNoChannel =
  (channel: string) =>
  <A, R>(effect: Effect.Effect<A, FindError, R>): Effect.Effect<A, Errors.NotFoundError | Errors.UnavailableError, R> =>
    Effect.catchTags(effect, {
      ChannelNotFoundError: () => Effect.fail(notFound(`There is no channel ${quote(channel)}`)()),
      InternalError: unavailable
    })

const channels = HttpApiBuilder.group(AdminApi, "channels", (handlers) => {
  const tailOf = Tail.make()
  return handlers
    .handle("list", ({ params, query }) =>
      findEngine(params.vhost).pipe(
        Effect.flatMap(({ channels }) => channels.listAfter(query.prefix ?? "", query.after ?? 0)),
        Effect.catchTag("InternalError", unavailable),
        Effect.map((part) => Parts.answer(part, query, identity))
      ))
    .handle("get", ({ params: { channel, vhost } }) => describe(vhost, channel))
    .handle("open", ({ params: { channel, vhost } }) =>
      find(vhost).pipe(
        Effect.flatMap(({ channels }) => channels.open(channel)),
        Effect.catchTags({
          InvalidChannelNameError: invalid,
          InternalError: unavailable
        }),
        Effect.andThen(describe(vhost, channel))
      ))
    .handle(
      "close",
      ({ params: { channel, vhost } }) =>
        Effect.flatMap(find(vhost), ({ channels }) => orNoChannel(channel)(channels.close(channel)))
    )
    .handle("subscribers", ({ params, query }) => subscribers(params, query))
    .handle("tail", ({ params: { channel, vhost } }) =>
      Effect.flatMap(
        findEngine(vhost),
        (vhost) => orNoChannel(channel)(tailOf(vhost, channel))
      ))
})

const subscribers = (params: { readonly vhost: string; readonly channel: string }, query: Parts.Page) =>
  Effect.flatMap(
    findEngine(params.vhost),
    ({ channels }) =>
      channels.subscribersAfter(params.channel, query.after ?? 0).pipe(
        orNoChannel(params.channel),
        Effect.map((part) =>
          Parts.answer(part, query, ({ browser, data, uid }) => ({
            sid: browser.sid,
            ...uid !== undefined && { uid },
            data: Json.parseObjectOrEmpty(data.text)
          }))
        )
      )
  )

const describe = (vhost: string, channel: string) =>
  Effect.flatMap(
    findEngine(vhost),
    ({ channels }) => orNoChannel(channel)(channels.describe(channel))
  )

const browsers = HttpApiBuilder.group(AdminApi, "browsers", (handlers) => {
  const part = Parts.makeCursors(({ browser }: Browsers.Info) => browser)
  return handlers
    .handle(
      "list",
      ({ params, query }) =>
        Effect.map(
          findEngine(params.vhost),
          ({ browsers }) => Parts.answer(part(browsers.list(), query), query, Browsers.infoOf)
        )
    )
    .handle(
      "disconnect",
      ({ params: { sid, vhost } }) =>
        Effect.flatMap(disconnect(vhost, "sid", sid), (result) =>
          result.disconnected > 0
            ? Effect.succeed(result)
            : Effect.fail(new Errors.NotFoundError({ message: `There is no browser ${quote(sid)}` })))
    )
    .handle("disconnectUser", ({ params: { uid, vhost } }) => disconnect(vhost, "uid", uid))
})

const disconnect = (vhost: string, by: "sid" | "uid", who: string) =>
  Effect.flatMap(
    findEngine(vhost),
    ({ browsers }) =>
      Effect.catchTags(Effect.map(browsers.disconnect(by, who), (disconnected) => ({ disconnected })), {
        InternalError: unavailable
      })
  )

const workers = HttpApiBuilder.group(AdminApi, "workers", (handlers) => {
  const part = Parts.makeCursors(({ registration }: WorkerInfo) => registration)
  return handlers
    .handle("list", ({ params, query }) =>
      Effect.map(
        Effect.flatMap(findEngine(params.vhost), ({ lobby }) => lobby.workers),
        (workers) =>
          Parts.answer(part(workers, query), query, ({ age, id, lifecycle, prefetch, responses, unacked }) => ({
            id,
            seconds: seconds(age),
            unacked,
            // Some want any number.
            ...prefetch !== undefined && Number.isSafeInteger(prefetch) && { prefetch },
            requests: responses,
            lifecycle
          }))
      ))
    .handle("queue", ({ params }) =>
      Effect.map(
        Effect.flatMap(findEngine(params.vhost), ({ lobby }) => lobby.lanes),
        ({ events, lifecycle, requests }) => ({
          events: laneOf(events),
          requests: laneOf(requests),
          lifecycle: laneOf(lifecycle)
        })
      ))
})

type Lobby = Engine.Vhost["lobby"]
type WorkerInfo = Effect.Success<Lobby["workers"]>[number]
type LaneInfo = Effect.Success<Lobby["lanes"]>["events"]

const laneOf = ({ oldestAge, queued, unacked }: LaneInfo) => ({
  queued,
  unacked,
  ...oldestAge !== undefined && { oldestSeconds: seconds(oldestAge) }
})

const deadLetters = HttpApiBuilder.group(AdminApi, "deadLetters", (handlers) =>
  handlers
    .handle("list", ({ params, query }) =>
      Effect.gen(function*() {
        const { deadLettersAfter } = yield* findEngine(params.vhost)
        const items = [...yield* Effect.catchTag(deadLettersAfter(query.after ?? 0), "InternalError", unavailable)]
        return Parts.answer({ items, next: undefined }, query, letterOf)
      }))
    .handle("replay", ({ params: { id, vhost } }) =>
      find(vhost).pipe(
        Effect.flatMap(({ deadLetters }) => deadLetters.replay(id)),
        Effect.catchTag("InternalError", unavailable),
        Effect.flatMap(orNoLetter(id))
      ))
    .handle("replayAll", ({ params }) =>
      find(params.vhost).pipe(
        Effect.flatMap(({ deadLetters }) => deadLetters.replayAll),
        Effect.catchTag("InternalError", unavailable)
      ))
    .handle("discard", ({ params: { id, vhost } }) =>
      find(vhost).pipe(
        Effect.flatMap(({ deadLetters }) => deadLetters.discard(id)),
        Effect.catchTag("InternalError", unavailable),
        Effect.flatMap(orNoLetter(id))
      ))
    .handle("discardAll", ({ params }) =>
      find(params.vhost).pipe(
        Effect.flatMap(({ deadLetters }) => deadLetters.discardAll),
        Effect.catchTag("InternalError", unavailable),
        Effect.map((discarded) => ({ discarded }))
      )))

const orNoLetter = (id: string) => (isThere: boolean) =>
  isThere ? Effect.void : Effect.fail(notFound(`There is no dead letter ${quote(id)}`)())

interface Letter {
  readonly id: string
  readonly json: string
  readonly attempts: number
  readonly reason: string
  readonly failedAt: number
}

const letterOf = ({ attempts, failedAt, id, json, reason }: Letter) => {
  const [[event, data] = ["", {}]] = Object.entries(Json.parseObjectOrEmpty(json))
  const size = Buffer.byteLength(json)
  return { id, event, ...size <= maxListed && { data: data as Schema.Json }, size, attempts, reason, failedAt }
}

/** All handlers. The endpoint has let the request pass, so the cookie is there. */
export const layer = Layer.mergeAll(BrokerHandlers.layer, VhostHandlers.layer, channels, browsers, workers, deadLetters)
  .pipe(
    Layer.provide([
      Layer.succeed(Cookie, { cookie: (effect) => effect }),
      HttpApiMiddleware.layerSchemaErrorTransform(
        Validation,
        (error) =>
          error.kind === "Body" || error.kind === "ResponseHeaders"
            ? Effect.fail(error)
            : Effect.fail(
              new Errors.InvalidError({ message: `${error.kind}: ${error.cause.message.replace(/\s+/g, " ")}` })
            )
      )
    ])
  )
