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
import type { Subscriber } from "../../engine/Channels.ts"
import type * as Engine from "../../engine/Vhosts.ts"
import type { DeadLetter } from "../../Vhosts.ts"
import { AdminApi, Cookie, Validation } from "../AdminApi.ts"
import * as Errors from "../AdminError.ts"
import * as BrokerHandlers from "./brokerHandlers.ts"
import * as Browsers from "./browsers.ts"
import { inEngine, inVhost, notFound, quote, seconds } from "./outcomes.ts"
import * as Parts from "./parts.ts"
import * as Tail from "./tail.ts"
import * as VhostHandlers from "./vhostHandlers.ts"

const channels = HttpApiBuilder.group(AdminApi, "channels", (handlers) => {
  const tailOf = Tail.make()
  return handlers
    .handle("list", ({ params, query }) =>
      inEngine(params.vhost, ({ channels }) =>
        Effect.map(
          channels.listAfter(query.prefix ?? "", query.after ?? 0),
          (part) => Parts.answer(part, query, identity)
        )))
    .handle("get", ({ params }) => describe(params))
    .handle("open", ({ params }) =>
      Effect.andThen(
        inVhost(params.vhost, ({ channels }) => channels.open(params.channel)),
        describe(params)
      ))
    .handle("close", ({ params: { channel, vhost } }) => inVhost(vhost, ({ channels }) => channels.close(channel)))
    .handle("subscribers", ({ params: { channel, vhost }, query }) =>
      inEngine(vhost, ({ channels }) =>
        Effect.map(
          channels.subscribersAfter(channel, query.after ?? 0),
          (part) => Parts.answer(part, query, subscriberOf)
        )))
    .handle("tail", ({ params: { channel, vhost } }) => inEngine(vhost, (vhost) => tailOf(vhost, channel)))
})

const describe = ({ channel, vhost }: { readonly vhost: string; readonly channel: string }) =>
  inEngine(vhost, ({ channels }) => channels.describe(channel))

const subscriberOf = ({ browser, data, uid }: Subscriber) => ({
  sid: browser.sid,
  ...uid !== undefined && { uid },
  data: Json.parseObjectOrEmpty(data.text)
})

const browsers = HttpApiBuilder.group(AdminApi, "browsers", (handlers) => {
  const part = Parts.makeCursors(({ browser }: Browsers.Info) => browser)
  return handlers
    .handle(
      "list",
      ({ params, query }) =>
        inEngine(
          params.vhost,
          ({ browsers }) => Effect.sync(() => Parts.answer(part(browsers.list(), query), query, Browsers.infoOf))
        )
    )
    .handle("disconnect", ({ params: { sid, vhost } }) =>
      Effect.filterOrElse(
        disconnect(vhost, "sid", sid),
        ({ disconnected }) => disconnected > 0,
        () => notFound(`There is no browser ${quote(sid)}`)
      ))
    .handle("disconnectUser", ({ params: { uid, vhost } }) => disconnect(vhost, "uid", uid))
})

const disconnect = (vhost: string, by: "sid" | "uid", who: string) =>
  inEngine(vhost, ({ browsers }) => Effect.map(browsers.disconnect(by, who), (disconnected) => ({ disconnected })))

const workers = HttpApiBuilder.group(AdminApi, "workers", (handlers) => {
  const part = Parts.makeCursors(({ registration }: WorkerInfo) => registration)
  return handlers
    .handle(
      "list",
      ({ params, query }) =>
        inEngine(
          params.vhost,
          ({ lobby }) => Effect.map(lobby.workers, (workers) => Parts.answer(part(workers, query), query, workerOf))
        )
    )
    .handle(
      "queue",
      ({ params }) =>
        inEngine(params.vhost, ({ lobby }) =>
          Effect.map(lobby.lanes, ({ events, lifecycle, requests }) => ({
            events: laneOf(events),
            requests: laneOf(requests),
            lifecycle: laneOf(lifecycle)
          })))
    )
})

type Lobby = Engine.Vhost["lobby"]
type WorkerInfo = Effect.Success<Lobby["workers"]>[number]
type LaneInfo = Effect.Success<Lobby["lanes"]>["events"]

const workerOf = ({ age, id, lifecycle, prefetch, responses, unacked }: WorkerInfo) => ({
  id,
  seconds: seconds(age),
  unacked,
  // Some want any number.
  ...prefetch !== undefined && Number.isSafeInteger(prefetch) && { prefetch },
  requests: responses,
  lifecycle
})

const laneOf = ({ oldestAge, queued, unacked }: LaneInfo) => ({
  queued,
  unacked,
  ...oldestAge !== undefined && { oldestSeconds: seconds(oldestAge) }
})

const deadLetters = HttpApiBuilder.group(AdminApi, "deadLetters", (handlers) =>
  handlers
    .handle("list", ({ params, query }) =>
      inEngine(params.vhost, ({ deadLettersAfter }) =>
        Effect.map(
          deadLettersAfter(query.after ?? 0),
          (items) => Parts.answer({ items: [...items], next: undefined }, query, letterOf)
        )))
    .handle("replay", ({ params: { id, vhost } }) =>
      Effect.flatMap(
        inVhost(vhost, ({ deadLetters }) => deadLetters.replay(id)),
        orNoLetter(id)
      ))
    .handle("replayAll", ({ params }) => inVhost(params.vhost, ({ deadLetters }) => deadLetters.replayAll))
    .handle("discard", ({ params: { id, vhost } }) =>
      Effect.flatMap(
        inVhost(vhost, ({ deadLetters }) => deadLetters.discard(id)),
        orNoLetter(id)
      ))
    .handle("discardAll", ({ params }) =>
      inVhost(params.vhost, ({ deadLetters }) =>
        Effect.map(deadLetters.discardAll, (discarded) => ({ discarded })))))

const orNoLetter = (id: string) => (isThere: boolean) =>
  isThere ? Effect.void : notFound(`There is no dead letter ${quote(id)}`)

/** How large the JSON of a dead letter may be in a list. */
const maxListed = 16_384

const letterOf = ({ attempts, failedAt, id, json, reason }: DeadLetter) => {
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
