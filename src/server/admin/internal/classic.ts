/**
 * The REST interface of the original broker: `GET /` lists the vhosts, `POST /chat/channels/room` opens a channel. Its paths,
 * statuses, bodies and links are those of WebRocket 0.3, so that its command line works unchanged.
 *
 * A vhost may have a path of several words here. The first `channels`, `workers` or `token` after the first word ends it; a vhost
 * with such a word in its path is administered by `AdminApi`.
 */

import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { ofView } from "../../engine/VhostViews.ts"
import type { Vhosts } from "../../Vhosts.ts"
import * as Parts from "./parts.ts"

type Response = HttpServerResponse.HttpServerResponse

/** Answers one method of one resource. */
type Answer = (vhosts: Vhosts["Service"], place: Place) => Effect.Effect<Response, Failure>

/** Why there is no answer. */
interface Failure {
  readonly _tag: string
  readonly message: string
}

/** What a path names. */
interface Place {
  readonly resource: keyof typeof resources
  /** The path of the vhost. */
  readonly vhost: string
  /** The name of the channel. */
  readonly channel: string
}

/** Answers a request for this path, which begins with a slash. */
export const respond = (
  vhosts: Vhosts["Service"],
  request: HttpServerRequest,
  path: string
): Effect.Effect<Response> => {
  const place = placeOf(path)
  if (place === undefined) return Effect.succeed(notFound)
  const methods: Readonly<Record<string, Answer>> = resources[place.resource]
  const { method } = request
  const answer = methods[method === "HEAD" ? "GET" : method]
  return answer === undefined
    ? Effect.succeed(HttpServerResponse.setHeader(empty(405), "allow", Object.keys(methods).join(", ")))
    : Effect.catch(
      answer(vhosts, place),
      ({ _tag, message }) => Effect.succeed(refusals.get(_tag) ?? failed(500, message))
    )
}

const placeOf = (path: string): Place | undefined => {
  const words = Result.getOrElse(Result.try(() => path.slice(1).split("/").map(decodeURIComponent)), () => undefined)
  if (words === undefined) return undefined
  const end = words.findIndex((word, index) => index > 0 && ["channels", "workers", "token"].includes(word))
  const vhost = `/${words.slice(0, end === -1 ? undefined : end).join("/")}`
  const [resource, channel, ...rest] = end === -1 ? [] : words.slice(end)
  if (rest.length > 0 || channel !== undefined && resource !== "channels") return undefined
  return {
    resource: vhost === "/" ? "vhosts" : channel !== undefined ? "channel" : resource as Place["resource"] ?? "vhost",
    vhost,
    channel: channel ?? ""
  }
}

const listVhosts: Answer = (vhosts) =>
  Effect.map(vhosts.list, (all) =>
    json({
      vhosts: all.map(({ path, token }) => ({
        path,
        accessToken: Redacted.value(token),
        links: links({ self: path })
      }))
    }))

const clearVhosts: Answer = (vhosts) =>
  Effect.flatMap(vhosts.list, (all) =>
    Effect.as(
      // One that somebody else has removed meanwhile is gone as well.
      Effect.forEach(all, ({ path }) => Effect.catchTag(vhosts.remove(path), "VhostNotFoundError", () => Effect.void), {
        discard: true
      }),
      empty(202)
    ))

const addVhost: Answer = (vhosts, { vhost: path }) => Effect.as(vhosts.add({ path }), found(path))

const showVhost: Answer = (vhosts, place) =>
  Effect.flatMap(vhosts.get(place.vhost), ({ counts, path, token }) =>
    Effect.map(counts, ({ channels }) =>
      json({
        vhost: {
          path,
          accessToken: Redacted.value(token),
          channels: { size: channels },
          links: links({ channels: `${path}/channels`, self: path })
        }
      })))

const deleteVhost: Answer = (vhosts, { vhost }) => Effect.as(vhosts.remove(vhost), empty(202))

const regenerateToken: Answer = (vhosts, { vhost }) => Effect.as(vhosts.regenerateToken(vhost), found(vhost))

const listChannels: Answer = (vhosts, place) =>
  Effect.flatMap(vhosts.get(place.vhost), (vhost) => {
    const { path } = vhost
    const { channels } = ofView(vhost)
    return Effect.map(Parts.all((cursor) => channels.listAfter("", cursor)), (all) =>
      stream(
        "channels",
        Stream.map(all, ({ name }) => ({
          name,
          links: links({ self: `${path}/channels/${name}`, vhost: path })
        }))
      ))
  })

const clearChannels: Answer = (vhosts, place) =>
  Effect.flatMap(vhosts.get(place.vhost), (vhost) => {
    const { channels, journal } = ofView(vhost)
    return channels.list.pipe(
      // One that somebody else has closed meanwhile is closed as well.
      Effect.flatMap(Effect.forEach(({ name }) => Effect.ignore(channels.close(name)), { discard: true })),
      Effect.andThen(journal.persisted),
      Effect.as(empty(202))
    )
  })

const addChannel: Answer = (vhosts, { channel, vhost }) =>
  Effect.flatMap(vhosts.get(vhost), ({ channels, path }) =>
    Effect.map(
      channels.open(channel),
      (isNew) => isNew ? found(`${path}/channels/${channel}`) : failed(400, "channel already exists")
    ))

const showChannel: Answer = (vhosts, place) =>
  Effect.flatMap(
    vhosts.get(place.vhost),
    (vhost) =>
      Effect.map(ofView(vhost).channels.describe(place.channel), ({ name, subscribers }) => {
        const self = `${vhost.path}/channels/${name}`
        return json({
          channel: {
            name,
            subscribers: { size: subscribers },
            links: links({ self, vhost: vhost.path, subscribers: `${self}/subscribers` })
          }
        })
      })
  )

const deleteChannel: Answer = (vhosts, place) =>
  Effect.flatMap(vhosts.get(place.vhost), ({ channels }) => Effect.as(channels.close(place.channel), empty(202)))

const listWorkers: Answer = (vhosts, place) =>
  Effect.flatMap(vhosts.get(place.vhost), (vhost) =>
    Effect.map(ofView(vhost).lobby.info, ({ workers }) =>
      json({
        workers: workers.map((id) => ({
          id,
          links: links({ self: `${vhost.path}/workers/${id}`, vhost: vhost.path })
        }))
      })))

/** Each resource with its methods. */
const resources = {
  vhosts: { GET: listVhosts, DELETE: clearVhosts },
  vhost: { POST: addVhost, GET: showVhost, DELETE: deleteVhost },
  token: { PUT: regenerateToken },
  channels: { GET: listChannels, DELETE: clearChannels },
  channel: { POST: addChannel, GET: showChannel, DELETE: deleteChannel },
  workers: { GET: listWorkers }
} satisfies Record<string, Record<string, Answer>>

const links = (all: Readonly<Record<string, string>>) => Object.entries(all).map(([rel, href]) => ({ rel, href }))

const contentType = "application/json"

const json = (value: object, status = 200): Response =>
  HttpServerResponse.text(JSON.stringify(value), { status, contentType })

// A vhost may have 100 000 channels, whose list would be too much for one step.
const stream = (name: string, items: Stream.Stream<object, unknown>): Response =>
  HttpServerResponse.stream(
    items.pipe(
      Stream.map((item) => JSON.stringify(item)),
      Stream.intersperseAffixes({ start: `{"${name}":[`, middle: ",", end: "]}" }),
      Stream.encodeText
    ),
    { contentType }
  )

const empty = (status: number): Response =>
  HttpServerResponse.empty({ status, headers: { "content-type": contentType } })

const found = (location: string): Response => HttpServerResponse.setHeader(empty(302), "location", location)

const failed = (status: number, error: string): Response => json({ error }, status)

const notFound = failed(404, "not found")

/** What is answered to a failure with this tag. */
const refusals: ReadonlyMap<string, Response> = new Map([
  ["VhostNotFoundError", failed(404, "vhost doesn't exist")],
  ["VhostExistsError", failed(400, "vhost already exists")],
  ["InvalidVhostError", failed(400, "invalid path")],
  ["InvalidChannelNameError", failed(400, "invalid channel name")],
  ["ChannelNotFoundError", failed(404, "channel doesn't exist")]
])
